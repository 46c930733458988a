// The types that dashboards are checked against, as Grafana publishes them.
import type { Dashboard } from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type { Options as Stat } from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type { Options as Timeseries, FieldConfig as TimeseriesField } from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type { Options as Table, FieldConfig as TableField } from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
export type DashboardFile = Dashboard;
export type StatOptions = Partial<Stat>;
export type TimeseriesOptions = Partial<Timeseries>;
export type TimeseriesCustom = Partial<TimeseriesField>;
export type TableOptions = Partial<Table>;
export type TableCustom = Partial<TableField>;
