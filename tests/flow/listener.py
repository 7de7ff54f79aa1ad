"""listener.py CA STEM OUT: a TLS server with that certificate, for one connection. Writes "port N", then whose certificate
it was shown and how many bytes it was sent."""
import socket
import ssl
import sys

ca, stem, out = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(stem + ".pem", stem + ".key")
context.load_verify_locations(ca)
context.verify_mode = ssl.CERT_OPTIONAL
context.set_alpn_protocols(["h2"])

with socket.create_server(("127.0.0.1", 0)) as server, open(out, "w", buffering=1) as told:
    print("port", server.getsockname()[1], file=told)
    server.settimeout(20)
    connection, _ = server.accept()
    connection.settimeout(10)
    who, count = "nobody", 0
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            who = "somebody" if tls.getpeercert() else "nobody"
            while read := tls.recv(65536):
                count += len(read)
    except (ssl.SSLError, ConnectionError):
        pass
    print(f"{who}, {count} bytes", file=told)
