"""Deepgram's transcripts with turns: Flux, `/v2/listen`, one socket for each leg."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from vb.config.providers import DeepgramConfig
from vb.errors import InvalidField
from vb.providers.reading import number_of, read_object, text_of, websocket_url
from vb.stt.base import (
    RATE_HZ,
    Capabilities,
    Dial,
    FinalText,
    Options,
    PartialText,
    Range,
    Read,
    Service,
    Stamps,
    Turn,
    TurnEvent,
    Word,
)
from vb.stt.codec import PlainCodec, to_ms
from vb.stt.deepgram import category_of_code
from vb.web.message import Message

NAME: Final = "deepgram_flux"
ENGLISH_MODEL: Final = "flux-general-en"
ANY_MODEL: Final = "flux-general-multi"
BLOCK_MS: Final = 80
CAPABILITIES: Final = Capabilities(
    block_ms=BLOCK_MS,
    finalize=True,
    turns=True,
    options=frozenset(
        {"model", "keyterms", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms", "language_hints"}
    ),
    ranges={
        "eot_threshold": Range(0, 1),
        "eager_eot_threshold": Range(0.3, 0.9),
        "eot_timeout_ms": Range(500, 10_000),
    },
)
_EVENTS: Final[dict[str, TurnEvent]] = {
    "StartOfTurn": "start_of_turn",
    "Update": "update",
    "EagerEndOfTurn": "eager_end_of_turn",
    "TurnResumed": "turn_resumed",
    "EndOfTurn": "end_of_turn",
}
_SILENCE: Final = bytes(2 * RATE_HZ * BLOCK_MS // 1000)


class FluxCodec(PlainCodec):
    """One connection to `/v2/listen`, on which the provider speaks first."""

    name = NAME

    def __init__(self, base_url: str, options: Options, key: str, stamps: Stamps) -> None:
        super().__init__(base_url, options, key, stamps)
        self.ready = False

    def dial(self) -> Dial:
        """Return where to connect to."""
        options = self._options
        model, hints = model_and_hints(options)
        query: list[tuple[str, object]] = [
            ("model", model),
            ("encoding", "linear16"),
            ("sample_rate", RATE_HZ),
        ]
        for name in ("eot_threshold", "eager_eot_threshold", "eot_timeout_ms"):
            value = getattr(options, name)
            if value is not None:
                query.append((name, value))
        query += [("keyterm", term) for term in options.keyterms]
        query += [("language_hint", hint) for hint in hints]
        return Dial(
            websocket_url(self._base_url, "/v2/listen", query), {"Authorization": f"Token {self._key}"}
        )

    def finalize(self) -> list[Message]:
        """End the turn."""
        return ['{"type":"ForceEndTurn"}']

    def keep_alive(self) -> list[Message]:
        """Return a little silence: a turn ends, and the connection stays, only while audio comes."""
        return [_SILENCE]

    def finish(self) -> list[Message]:
        """Say that no audio will come; the provider answers by closing."""
        return ['{"type":"CloseStream"}']

    def _read(self, message: Message) -> list[Read]:
        found = read_object(message)
        kind = found["type"]
        if kind == "Connected":
            self.ready = True
        elif kind == "TurnInfo":
            return self._turn(found)
        elif kind == "Error":
            text = found.get("description") or found.get("code")
            return [self._failed(category_of_code(str(found.get("code"))), text)]
        return []

    def _turn(self, message: dict[str, Any]) -> list[Read]:
        event = _EVENTS.get(str(message["event"]))
        if event is None:
            return []
        text = text_of(message["transcript"])
        start_ms, end_ms = to_ms(message["audio_window_start"]), to_ms(message["audio_window_end"])
        words = tuple(_word(word, start_ms, end_ms) for word in message["words"])
        turn = Turn(
            event,
            turn_index=int(number_of(message["turn_index"])),
            text=text or None,
            end_of_turn_confidence=float(number_of(message["end_of_turn_confidence"])),
            audio_window_start_ms=start_ms,
            audio_window_end_ms=end_ms,
            last_word_end_ms=words[-1].end_ms if words else None,
            words=words,
            languages=tuple(text_of(language) for language in message.get("languages") or ()),
        )
        if event == "end_of_turn":
            return [turn, FinalText(text, speech_final=True, start_ms=start_ms, end_ms=end_ms)]
        return [turn, PartialText(text, start_ms, end_ms)] if text and event == "update" else [turn]


def _word(word: dict[str, Any], start_ms: int | None, end_ms: int | None) -> Word:
    """Return a word; one without times was said somewhere in the window."""
    start, end = to_ms(word.get("start")), to_ms(word.get("end"))
    return Word(
        text_of(word["word"]),
        float(number_of(word["confidence"])),
        (start_ms or 0) if start is None else start,
        (end_ms or 0) if end is None else end,
    )


def model_and_hints(options: Options) -> tuple[str, tuple[str, ...]]:
    """Return which model listens, and for which languages: hints are for the one that knows several."""
    hints = options.language_hints
    english = options.language.lower().partition("-")[0] in ("", "en")
    if not english and options.language not in hints:
        hints = (options.language, *hints)
    model = options.model or (ANY_MODEL if hints else ENGLISH_MODEL)
    return model, hints


def check(options: Options) -> None:
    """Refuse what Flux can never do.

    Raises:
        InvalidField: languages for a model that knows English alone, or thresholds in the wrong order.
    """
    model, hints = model_and_hints(options)
    if hints and model == ENGLISH_MODEL:
        field = "language_hints" if options.language_hints else "language"
        raise InvalidField(field, f"{ENGLISH_MODEL} knows English only")
    eager, sure = options.eager_eot_threshold, options.eot_threshold
    if eager is not None and sure is not None and eager > sure:
        raise InvalidField("eager_eot_threshold", "may not be above eot_threshold")


def deepgram_flux(config: DeepgramConfig) -> Service:
    """Return Flux as Deepgram's settings say."""
    return Service(NAME, CAPABILITIES, config.api_key, partial(FluxCodec, config.base_url), check)
