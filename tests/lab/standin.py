"""Stand in for servers: say back what is said, at each `protocol,address,port` named. An address
in brackets takes IPv6 alone."""

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


class _Server(socketserver.TCPServer):
    def __init__(self, address: str, port: int, handler: type[socketserver.BaseRequestHandler]):
        # A socket for `::` answers IPv4, too.
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address.strip("[]"), port), handler, bind_and_activate=False)
        if "[" in address:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.server_bind()
        self.server_activate()


class _Tcp(socketserver.ThreadingMixIn, _Server):
    daemon_threads = True
    request_queue_size = 256


class _Udp(socketserver.ThreadingMixIn, _Server, socketserver.UDPServer):
    pass


def _serve(protocol: str, address: str, port: str) -> None:
    server, handler = (_Tcp, _Stream) if protocol == "tcp" else (_Udp, _Datagram)
    server(address, int(port), handler).serve_forever()


if __name__ == "__main__":
    for spec in sys.argv[1:]:
        threading.Thread(target=_serve, args=spec.split(",")).start()
