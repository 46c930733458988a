"""What the benchmarks need of the Mini Programs that `demo` simulates."""

import os
import socket

# The secret that `demo` accepts for every app.
SECRET = "simulated-appsecret"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def appid(number):
    return f"wx{number:016}"


def configuration(folder, apps, api):
    """Writes a configuration of the first so many apps at that port, and returns its path.

    They are as `demo` has them: one in three is read through a cloud function.
    """
    secret = os.path.join(folder, "secret")
    with open(secret, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(SECRET)
    config = os.path.join(folder, "config.yml")
    with open(config, "w", encoding="utf-8") as file:
        file.write("apps:\n")
        for app in range(1, apps + 1):
            file.write(f"  - appid: {appid(app)}\n    api_url: http://127.0.0.1:{api}\n"
                       f"    access_token:\n      stable_token: {{ secret_file: {secret} }}\n")
            if app % 3 == 2:
                file.write("    cloud_function: { env: demo-prod, name: getAllAccount }\n")
    return config
