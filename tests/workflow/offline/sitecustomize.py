"""For PYTHONPATH: no process of Python reaches beyond this machine, and each try is a line of refused.txt."""

import socket
from pathlib import Path

HERE = ("127.", "::1", "localhost", "0.0.0.0")

connect, look_up = socket.socket.connect, socket.getaddrinfo


def demand_here(host: object) -> None:
    if host and not str(host).startswith(HERE):
        with Path("refused.txt").open("a") as file:
            file.write(f"{host}\n")
        raise OSError(f"{host} is not on this machine")


def connect_here(self: socket.socket, address):
    if self.family != socket.AF_UNIX:
        demand_here(address[0])
    return connect(self, address)


def look_up_here(host, *arguments, **options):
    demand_here(host.decode() if isinstance(host, bytes) else host)
    return look_up(host, *arguments, **options)


socket.socket.connect, socket.getaddrinfo = connect_here, look_up_here
