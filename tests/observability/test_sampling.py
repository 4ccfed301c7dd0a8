"""Which requests are traced: as OpenTelemetry's samplers say, and never more than is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from api import tracing
from api.edge import trace_of
from api.surroundings import SettingError
from api.trace_settings import TraceSettings, load
from api.tracing import Answered, Parent, Tracing, parent_of

ENDPOINT = "http://127.0.0.1:4318/v1/traces"
VARIABLES = (
    "LEDGER_TRACES",
    "LEDGER_TRACE_RATIO",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
)
_ids = st.integers(1, (1 << 128) - 1)


def _tracing(ratio: float, *, follows_parent: bool = True) -> Tracing:
    """A sampler of ours."""
    return Tracing(TraceSettings(endpoint=ENDPOINT, ratio=ratio, follows_parent=follows_parent))


@given(trace_id=_ids, sampled=st.booleans(), ratio=st.floats(0, 1), follows=st.booleans())
def test_a_callers_trace_is_sampled_as_the_librarys_samplers_would(
    trace_id: int, *, sampled: bool, ratio: float, follows: bool
) -> None:
    """By the flag where the parent is followed, else by the trace's id: every service alike."""
    sampler: Sampler = TraceIdRatioBased(ratio)
    if follows:
        sampler = ParentBased(sampler)
    caller = SpanContext(trace_id, 1, is_remote=True, trace_flags=TraceFlags(int(sampled)))
    context = set_span_in_context(NonRecordingSpan(caller))
    expected = sampler.should_sample(context, trace_id, "x").decision is Decision.RECORD_AND_SAMPLE
    parent = Parent(f"{trace_id:032x}", "0" * 15 + "1", sampled)
    span = _tracing(ratio, follows_parent=follows).begin(parent, [])
    assert (span is not None) == expected
    if span is not None:
        assert (span.trace_id, span.parent_id) == (parent.trace_id, parent.span_id)


@given(ratio=st.floats(0, 1))
def test_a_trace_that_begins_here_is_one_that_the_librarys_sampler_takes(ratio: float) -> None:
    """Its id says so to every service behind; of all or nothing there is no chance."""
    span = _tracing(ratio).begin(None, [])
    if span is not None:
        found = TraceIdRatioBased(ratio).should_sample(None, int(span.trace_id, 16), "x")
        assert found.decision is Decision.RECORD_AND_SAMPLE
        assert parent_of([span.traceparent.encode()]) == Parent(span.trace_id, span.span_id, True)  # noqa: FBT003 - a flag of three
    assert _tracing(0).begin(None, []) is None
    assert _tracing(1).begin(None, []) is not None


def test_who_has_everything_traced_is_bounded() -> None:
    """Beyond so many a second requests go untraced, and are counted; so are notes that wait."""
    found = _tracing(1)
    count = 40 * tracing.REQUESTS_PER_S_MAX
    spans = [span for _ in range(count) if (span := found.begin(None, [])) is not None]
    seconds = {span.begun_ns // 10**9 for span in spans}
    assert len(spans) <= (len(seconds) + 1) * tracing.REQUESTS_PER_S_MAX
    assert found.drops.rate == count - len(spans) > 0
    note = Answered(spans[0], "GET", "/v1/info", 200, None, None, 1)
    for _ in range(tracing.NOTES_MAX + 7):
        found.note(note)
    assert (len(found.notes), found.drops.queue) == (tracing.NOTES_MAX, 7)


def test_what_vendors_noted_is_handed_through_and_bounded() -> None:
    """Several headers are one list; what is too long or no text is left out."""
    sent = (b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")
    for values, expected in (
        ((b"a=1", b"b=2"), "a=1,b=2"),
        ((b"a=" + b"x" * 600,), None),
        ((b"a=\xff",), None),
        ((), None),
    ):
        headers = [sent, *((b"tracestate", value) for value in values)]
        span = trace_of(headers, _tracing(0)).span
        assert span is not None
        assert span.tracestate == expected
    assert trace_of([sent, (b"tracestate", b"a=1")]).span is None


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Surroundings that say nothing of traces."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("given_variables", "expected"),
    [
        ({}, None),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, (1.0, True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "LEDGER_TRACES": "off"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:4318", "OTEL_SDK_DISABLED": "true"}, None),
        ({"LEDGER_TRACES": "https://c:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"LEDGER_TRACES": "https://c:4318/", "LEDGER_TRACE_RATIO": "0.01"}, (0.01, True)),
        ({"LEDGER_TRACES": "https://c:4318", "OTEL_TRACES_SAMPLER": "always_on"}, (1.0, False)),
        ({"LEDGER_TRACES": "https://c", "OTEL_TRACES_SAMPLER": "always_off"}, (0.0, False)),
        (
            {"LEDGER_TRACES": "https://c", "OTEL_TRACES_SAMPLER": "parentbased_always_off"},
            (0.0, True),
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/v1/traces",
                "OTEL_TRACES_SAMPLER": "traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0.5",
            },
            (0.5, False),
        ),
    ],
)
def test_the_variables_say_whether_and_which(
    environment: pytest.MonkeyPatch,
    given_variables: dict[str, str],
    expected: tuple[float, bool] | None,
) -> None:
    """OpenTelemetry's, and two of ours that go before."""
    for name, value in given_variables.items():
        environment.setenv(name, value)
    found = load()
    assert (None if found is None else (found.ratio, found.follows_parent)) == expected
    assert found is None or found.endpoint.endswith("/v1/traces")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGER_TRACES", "http://collector:4318"),
        ("LEDGER_TRACES", "ftp://localhost"),
        ("LEDGER_TRACES", "on"),
        ("LEDGER_TRACES", "https://user:secret@collector"),
        ("LEDGER_TRACES", "https://collector:0"),
        ("LEDGER_TRACES", "https://collector?key=secret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.1:4318"),
        ("LEDGER_TRACE_RATIO", "2"),
        ("LEDGER_TRACE_RATIO", "nan"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ],
)
def test_what_is_malformed_is_refused_without_repeating_it(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The message names the variable; what was in it may be a secret."""
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    environment.setenv(name, value)
    with pytest.raises(SettingError) as refused:
        load()
    assert str(refused.value).startswith(name)
    assert "secret" not in str(refused.value)
