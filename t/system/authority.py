"""A certificate authority of the test's own, by the openssl program."""

import ssl
import subprocess


class Authority:
    def __init__(self, directory):
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ca = self.directory / "ca.pem"
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", "/CN=a test's authority", "-keyout", "ca.key", "-out", "ca.pem")

    def run(self, *args):
        subprocess.run(["openssl", *args], cwd=self.directory, check=True, capture_output=True)

    def context(self, names, days=30):
        """A server's ssl.SSLContext, with a certificate for names: "DNS:a.example,IP:127.0.0.1"."""
        stem = names.replace(":", "-").replace(",", "_").replace("*", "any") + str(days)
        (self.directory / f"{stem}.ext").write_text(f"subjectAltName = {names}\n")
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=server",
                 "-keyout", f"{stem}.key", "-out", f"{stem}.csr")
        self.run("x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                 "-days", str(days), "-extfile", f"{stem}.ext", "-out", f"{stem}.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{stem}.pem", self.directory / f"{stem}.key")
        context.asked = []
        context.sni_callback = lambda _, name, context: context.asked.append(name)
        return context
