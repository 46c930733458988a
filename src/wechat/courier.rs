//! The couriers that WeChat documents: names and networks, built in.
