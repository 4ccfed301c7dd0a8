"""A server that speaks the part of Vault's transit engine that the program uses, over real HTTP.

Written from the engine's public description: versions of a key, batches, tokens, refusals. It
stands in for Vault, which cannot be had here; it is no Vault.
"""

import base64
import binascii
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Json = dict[str, Any]


class Transit:
    """One transit key with its versions, and who may use it how."""

    def __init__(self, token: str) -> None:
        """Version 1; whoever has the token may wrap and unwrap."""
        self.token = token
        self.may_rotate = False
        self.is_sealed = False
        self.is_broken = False
        self.elsewhere: str | None = None
        self.min_decryption_version = 1
        self.versions = [AESGCM.generate_key(256)]
        self.requests: list[str] = []
        self.plaintexts: list[str] = []
        self.address = ""

    def rotate(self) -> None:
        """A new version, which wraps from now on."""
        self.versions.append(AESGCM.generate_key(256))

    def answer(self, path: str, token: str | None, body: Json) -> tuple[int, Json]:
        """Status and body."""
        self.requests.append(path)
        if self.is_sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != self.token:
            return 403, {"errors": ["permission denied"]}
        match path.split("/"):
            case ["", "v1", "transit", "keys", "ledger", "rotate"]:
                if not self.may_rotate:
                    return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
                self.rotate()
                return 200, {"data": {"latest_version": len(self.versions)}}
            case ["", "v1", "transit", ("encrypt" | "decrypt" | "rewrap") as what, "ledger"]:
                return self._batch(what, body)
            case _:
                return 404, {"errors": ["no handler for route"]}

    def _batch(self, what: str, body: Json) -> tuple[int, Json]:
        """Every item of a batch; 400 where one of them cannot be done."""
        if self.is_broken:
            return 200, {"data": {"unexpected": True}}
        results = [self._one(what, item) for item in body["batch_input"]]
        status = 400 if any("error" in item for item in results) else 200
        return status, {"data": {"batch_results": results}}

    def _one(self, what: str, item: Json) -> Json:
        """One item."""
        if what == "encrypt":
            version = item.get("key_version") or len(self.versions)
            if not 1 <= version <= len(self.versions):
                return {"error": "cannot encrypt with a version that is not there"}
            self.plaintexts.append(item["plaintext"])
            return {"ciphertext": self._sealed(item["plaintext"], version)}
        text = self._opened(item["ciphertext"])
        if text is None:
            return {"error": "invalid ciphertext: unable to decrypt"}
        if what == "rewrap":
            return {"ciphertext": self._sealed(text, len(self.versions))}
        return {"plaintext": text}

    def _sealed(self, text: str, version: int) -> str:
        """A ciphertext."""
        nonce = os.urandom(12)
        raw = nonce + AESGCM(self.versions[version - 1]).encrypt(nonce, text.encode(), None)
        return f"vault:v{version}:{base64.b64encode(raw).decode()}"

    def _opened(self, ciphertext: str) -> str | None:
        """What was sealed; ``None`` where it is damaged, or the version is no longer allowed."""
        try:
            _, version, text = ciphertext.split(":")
            number = int(version[1:])
            raw = base64.b64decode(text, validate=True)
            if number < self.min_decryption_version:
                return None
            return AESGCM(self.versions[number - 1]).decrypt(raw[:12], raw[12:], None).decode()
        except (ValueError, IndexError, binascii.Error, InvalidTag):
            return None


@contextmanager
def serving(token: str) -> Iterator[Transit]:
    """The server, on a free port of this machine."""
    transit = Transit(token)

    class Handler(BaseHTTPRequestHandler):
        """Hands requests on."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Answer, or send elsewhere."""
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            if transit.elsewhere is not None:
                self.send_response(307)
                self.send_header("Location", transit.elsewhere + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, answer = transit.answer(self.path, self.headers.get("X-Vault-Token"), body)
            raw = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_arguments: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    transit.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield transit
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
