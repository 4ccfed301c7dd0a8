"""What the surroundings say about traces: where they are sent, and which requests have one.

``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``LEDGER_TRACES``, the same for this program alone) names a
collector that takes OTLP over HTTP; without it there are no traces. What else OpenTelemetry's
variables say (headers, certificates, compression, resource attributes) is read by its own library.
``LEDGER_TRACE_RATIO`` is the part of requests that begin a trace here; or ``OTEL_TRACES_SAMPLER``.
"""

import importlib.util
from urllib.parse import urlsplit

import msgspec

from api import surroundings
from api.surroundings import SettingError

PATH = "/v1/traces"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_NEEDED = "opentelemetry.exporter"
_PROTOCOL = "http/protobuf"
_DEFAULT = "parentbased_always_on"
_RATIO = "traceidratio"
_PARENT = "parentbased_"
_SAMPLERS = frozenset(
    f"{before}{name}" for before in ("", _PARENT) for name in ("always_on", "always_off", _RATIO)
)


class TraceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans go, and which requests have them.

    ``ratio``, 0 to 1, counts for requests whose caller says nothing of a trace; where the sampler
    follows its parent, what a caller says counts for the others.
    """

    endpoint: str
    ratio: float = 1.0
    follows_parent: bool = True


def load() -> TraceSettings | None:
    """Read the settings; ``None``: no traces.

    Raises:
        SettingError: one is malformed, or what sends traces is not installed.
    """
    endpoint = _endpoint()
    if endpoint is None:
        return None
    if importlib.util.find_spec(_NEEDED) is None:
        msg = "traces need more packages: pip install 'ledger-core[otel]'"
        raise SettingError(msg)
    ratio, follows_parent = _sampler()
    return TraceSettings(endpoint=endpoint, ratio=ratio, follows_parent=follows_parent)


def _endpoint() -> str | None:
    """The address that spans are posted to; ``None`` where there is to be none.

    Raises:
        SettingError: it is none that spans may be sent to.
    """
    own = surroundings.text("LEDGER_TRACES")
    is_disabled = (surroundings.text("OTEL_SDK_DISABLED") or "").lower() == "true"
    if own == "off" or is_disabled or surroundings.text("OTEL_TRACES_EXPORTER") == "none":
        return None
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if surroundings.text(variable) not in {None, _PROTOCOL}:
            msg = f"{variable} must be {_PROTOCOL}, or not set"
            raise SettingError(msg)
    whole = surroundings.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if own is None and whole is not None:
        return _checked("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole)
    for variable in ("LEDGER_TRACES", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        base = surroundings.text(variable)
        if base is not None:
            return _checked(variable, base).rstrip("/") + PATH
    return None


def _checked(variable: str, url: str) -> str:
    """An address that others on the way cannot read along at.

    Raises:
        SettingError: it is something else.
    """
    try:
        parts = urlsplit(url)
        host, is_port_good = parts.hostname, parts.port != 0
    except ValueError:
        host, is_port_good, parts = None, False, urlsplit("")
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    if not host or not is_port_good or not is_safe or parts.username or parts.query:
        msg = (
            f"{variable} must be an https address of a collector, as in https://collector:4318, or"
            " an http one on this machine; who sends goes into OTEL_EXPORTER_OTLP_HEADERS"
        )
        raise SettingError(msg)
    return url


def _sampler() -> tuple[float, bool]:
    """Which part of the requests begins a trace, and whether a caller's decision counts.

    Raises:
        SettingError: a sampler that is not known here, or no ratio.
    """
    own = surroundings.text("LEDGER_TRACE_RATIO")
    if own is not None:
        return _ratio("LEDGER_TRACE_RATIO", own), True
    name = surroundings.text("OTEL_TRACES_SAMPLER") or _DEFAULT
    if name not in _SAMPLERS:
        msg = f"OTEL_TRACES_SAMPLER must be one of {', '.join(sorted(_SAMPLERS))}"
        raise SettingError(msg)
    kind = name.removeprefix(_PARENT)
    if kind == _RATIO:
        argument = surroundings.text("OTEL_TRACES_SAMPLER_ARG") or "1"
        return _ratio("OTEL_TRACES_SAMPLER_ARG", argument), name.startswith(_PARENT)
    return float(kind == "always_on"), name.startswith(_PARENT)


def _ratio(variable: str, text: str) -> float:
    """A number from 0 to 1.

    Raises:
        SettingError: it is none.
    """
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        msg = f"{variable} must be a number from 0 to 1"
        raise SettingError(msg)
    return found
