"""Stand in for servers: say back what is said, at each `protocol,address,port` named."""

import socket
import socketserver
import sys
import threading


class _Stream(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while said := self.request.recv(65536):
            self.request.sendall(said)


class _Datagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        said, door = self.request
        door.sendto(said, self.client_address)


class _Tcp(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 256


class _Udp(socketserver.ThreadingUDPServer):
    address_family = socket.AF_INET6


def _serve(protocol: str, address: str, port: str) -> None:
    # IPv4 in IPv6 clothes, so that one family is enough; `::` answers both anyway.
    mapped = address if ":" in address else f"::ffff:{address}"
    if protocol == "tcp":
        _Tcp((mapped, int(port)), _Stream).serve_forever()
    else:
        _Udp((mapped, int(port)), _Datagram).serve_forever()


if __name__ == "__main__":
    for spec in sys.argv[1:]:
        threading.Thread(target=_serve, args=spec.split(",")).start()
