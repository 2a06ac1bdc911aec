"""Settings of the server: addresses and limits, as arguments or SENSORIUM_… in the environment."""

from __future__ import annotations

import ipaddress
import re
import ssl
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from sensorium.errors import BadRecipe

MAKE_CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=$(hostname) -keyout key.pem -out cert.pem"
)


_HOST, _PATH = re.compile(r"[a-z0-9:]([a-z0-9.:_-]*[a-z0-9])?", re.ASCII), re.compile(r"(/[\w.~-]+)*", re.ASCII)


class LiveLimits(BaseSettings):
    """Limits of live streams; every field can come from the environment, such as ``SENSORIUM_LIVE_STREAMS=100``."""

    model_config = SettingsConfigDict(env_prefix="SENSORIUM_LIVE_", extra="ignore")

    streams: int = Field(1000, gt=0, description="sockets that listen at once; a further one is refused")
    behind: float = Field(0.5, gt=0, description="seconds a turn of all streams may take before new ones are refused")
    seconds: float = Field(4 * 3600.0, gt=0, description="how long one socket may stay open")
    idle: float = Field(60.0, gt=0, description="seconds without a message after which a socket is closed")
    message: int = Field(1 << 20, gt=0, description="bytes of one message of sound")
    speed: float = Field(60.0, ge=1, description="times real time at which sound is taken; faster senders wait")
    burst: float = Field(5.0, gt=0, description="seconds of sound that are taken without looking at the speed")
    ahead: float = Field(10.0, gt=0, description="seconds of sound that may wait for the model; senders wait beyond")
    backlog: int = Field(64, gt=0, description="answers that wait for a slow reader before older ones are dropped")
    slow: float = Field(10.0, gt=0, description="seconds a reader may take nothing before its socket is closed")
    gather: float = Field(0.01, ge=0, description="seconds that sound waits for that of other streams, at least")
    gather_most: float = Field(0.04, ge=0, description="… and at most, which is when there are many")
    turn: float = Field(2.0, gt=0, description="seconds of one stream that are computed before the others' turn")
    together: bool = Field(True, description="step all streams in one call of the model; false is for comparison")
    upload: int = Field(24 << 20, gt=0, description="characters of one message to /ws")


class Settings(BaseSettings):
    """Settings of a server; every field can come from the environment, such as ``SENSORIUM_PORT=9000``."""

    model_config = SettingsConfigDict(env_prefix="SENSORIUM_", extra="ignore")

    host: str = Field("127.0.0.1", description="address to listen on; any but loopback needs a token")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    token: SecretStr | None = Field(None, description="what a client must send as Authorization: Bearer …")
    hosts: list[str] = Field(default_factory=list, description="further names this server answers to")
    public_url: str | None = Field(None, description="address at which a proxy in front makes this server reachable")
    origins: list[str] = Field(default_factory=list, description="further pages whose sockets are taken, by origin")
    workers: int = Field(1, ge=1, le=256, description="processes that answer, each with the runs opened")
    label: bool = Field(False, description="take labels of hits, propose queries, and refit: see docs/labelling.md")
    generate: str | None = Field(None, description="picture model that faces condition: a folder, or an id of the hub")

    tls_cert: Path | None = Field(None, description="certificate chain, PEM; with tls_key the server speaks https")
    tls_key: Path | None = Field(None, description="private key of tls_cert, PEM, without a password")
    browser_face_model: Path | None = Field(None, description="landmark model for browsers: a folder or an archive")

    max_body: int = Field(32 << 20, gt=0, description="bytes of a request's body")
    max_bodies: int = Field(256 << 20, gt=0, description="bytes of all bodies and socket messages under way together")
    max_stream: int = Field(4 << 30, gt=0, description="bytes of a stream of items, which is read line by line")
    stream_seconds: float = Field(3600.0, gt=0, description="time a stream of items may take")
    header_seconds: float = Field(10.0, gt=0, description="time a connection has to send the head of a request")
    body_seconds: float = Field(30.0, gt=0, description="longest wait for the next piece of a body")
    body_total_seconds: float = Field(120.0, gt=0, description="time a whole body may take to come")
    client_share: float = Field(
        0.5, gt=0, le=1, description="share of the places and of the bytes under way that one address may hold"
    )
    max_header: int = Field(16 << 10, gt=0, description="bytes of all headers of a request")
    max_pixels: int = Field(40_000_000, gt=0, description="pixels of a picture")
    max_seconds: float = Field(600.0, gt=0, description="seconds of a sound")
    max_k: int = Field(10_000, gt=0, description="neighbours of one search")
    max_queries: int = Field(16, gt=0, description="inputs combined in one search")
    max_encode: int = Field(256, gt=0, description="items of one call to /encode or /v1/embeddings")
    max_text: int = Field(20_000, gt=0, description="characters of one text")
    max_column: int = Field(10_000, gt=0, description="characters of one column of an added item")
    max_width: int = Field(65_536, gt=0, description="numbers of one vector")

    batch: int = Field(64, gt=0, description="requests answered by one pass of an index or encoder")
    batch_wait_ms: float = Field(2.0, ge=0, description="longest wait for more requests; none while idle")
    decoders: int = Field(1, gt=0, le=16, description="processes that decode uploaded media")
    decode_seconds: float = Field(10.0, gt=0, description="time one decoding may take before its process is killed")
    decode_bytes: int = Field(1 << 30, gt=0, description="memory one decoding process may take")
    journal_bytes: int = Field(64 << 20, gt=0, description="journal of live changes from which it is compacted")
    busy: int = Field(1024, gt=0, description="requests under way at once; further ones are answered 503")
    reload_seconds: float = Field(1.0, gt=0, description="how often run folders are looked at for a new version")
    drain_seconds: float = Field(10.0, gt=0, description="time requests under way have when the server stops")

    live: LiveLimits = Field(default_factory=LiveLimits, description="limits of live sound, each SENSORIUM_LIVE_…")

    log: Literal["debug", "info", "warning", "off"] = Field("info", description="least level of a log line")
    log_queries: bool = Field(False, description="write the text of queries to the log")

    @property
    def client_bytes(self) -> int:
        """Bytes that one address may have under way; always enough for one request."""
        return max(int(self.max_bodies * self.client_share), self.max_body, self.live.upload)

    def body_limit(self, stream: bool) -> int:
        """Bytes of a body; of a stream of items, more."""
        return max(self.max_stream, self.max_body) if stream else self.max_body

    @property
    def public_scheme(self) -> str:
        """``http`` or ``https`` of the public address; empty without one."""
        return urlsplit(self.public_url or "").scheme

    @property
    def public_host(self) -> str:
        """Name and, where there is one, port of the public address; empty without one."""
        return urlsplit(self.public_url or "").netloc

    @property
    def prefix(self) -> str:
        """Path of the public address, such as ``/sensorium``; empty for none."""
        return urlsplit(self.public_url or "").path.rstrip("/")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    def check(self) -> Settings:
        """These settings. Raises BadRecipe for invalid ones, and for those that open the server without a token."""
        if not self.loopback and self.token is None:
            raise BadRecipe(
                f"--host {self.host} is reachable from other machines and no token is set; "
                "write one into a file and type: sensorium serve RUN --host HOST --token-file FILE"
            )
        if self.token is not None and len(self.token.get_secret_value()) < 16:
            raise BadRecipe("the token is shorter than 16 characters; make one with: openssl rand -hex 24")
        for origin in self.origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest:
                raise BadRecipe(f"--allow-origin {origin} is no origin; type one such as http://localhost:5173")
        if self.public_url is not None:
            self.public_url = check_public_url(self.public_url)
        if self.workers > 1 and self.label:
            raise BadRecipe("--label keeps the state of a refit in one process; type: --label --workers 1")
        if self.tls_cert or self.tls_key:
            check_certificate(self.tls_cert, self.tls_key)
        largest = max(self.max_body, self.live.upload)
        if self.max_bodies < largest:
            raise BadRecipe(
                f"max_bodies={self.max_bodies} leaves no room for one request of {largest} bytes; "
                f"set SENSORIUM_MAX_BODIES={largest} or more, or max_body and live.upload lower"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_public_url(url: str) -> str:
    """A public address without a slash at its end, scheme and host in lower case, no default port.

    Raises BadRecipe for what is no address of a page.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    path = parts.path.rstrip("/")
    known = parts.scheme in ("http", "https") and _HOST.fullmatch(host) and not (parts.query or parts.fragment)
    if not known or "@" in parts.netloc or not _PATH.fullmatch(path):
        raise BadRecipe(
            f"--public-url {url} is no address that a proxy serves; type scheme, host and perhaps a path prefix, "
            "such as https://search.example/sensorium"
        )
    name = f"[{host}]" if ":" in host else host
    usual = port is None or port == {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{name}{'' if usual else f':{port}'}{path}"


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Raises BadRecipe where one of the two is missing, cannot be read, or does not belong to the other."""
    if certificate is None or key is None:
        raise BadRecipe("--tls-cert and --tls-key belong together; type both: --tls-cert CERT.pem --tls-key KEY.pem")
    for option, path in (("--tls-cert", certificate), ("--tls-key", key)):
        if not path.is_file():
            raise BadRecipe(f"{option} {path}: no such file; to make a pair for tests, type: {MAKE_CERTIFICATE}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise BadRecipe(
            f"--tls-cert {certificate} and --tls-key {key} are no pair of PEM certificate and key without a password "
            f"({error}); to make one for tests, type: {MAKE_CERTIFICATE}"
        ) from None


def read_token(path: Path) -> SecretStr:
    """The first line of a token file. Raises BadRecipe when it cannot be read or is empty."""
    try:
        token = path.read_text("utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecipe(f"--token-file {path} cannot be read ({error}); expected a text file of one line") from None
    if not token:
        raise BadRecipe(f"--token-file {path} is empty; make one with: openssl rand -hex 24 > {path}")
    return SecretStr(token)
