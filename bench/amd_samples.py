"""How often answering machine detection is right, on greetings that a speech synthesiser speaks.

    python -m bench.amd_samples [--each]

Needs espeak-ng. Every sample is a call's first twenty seconds as they would come by telephone: silence before
the greeting, the band of a telephone line, its level and noise, G.711 in frames of 20 ms. Nothing is written;
the table goes to standard output, with --each a line for each sample too.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from vb.codecs.g711 import PCM_TO_ULAW, ULAW_TO_PCM
from vb.codecs.pcm import Pcm
from vb.codecs.resample import StreamResampler
from vb.speech.amd import AmdAnalyser, AmdBeep, AmdVerdict
from vb.speech.amd_parameters import AmdParameters

LINE_HZ = 8000
CALL_S = 20
LIMITS = AmdParameters(beep_timeout_ms=12_000)

Audio = NDArray[np.float64]

PEOPLE = {
    "en-us": ("Hello?", "Hello, who is this?", "Yes?"),
    "en-gb": ("Good morning!", "Hello, front desk.", "Speaking."),
    "de": ("Hallo?", "Guten Tag, Empfang.", "Ja, bitte?"),
    "fr-fr": ("Allô ?", "Oui, bonjour ?", "Allô, j'écoute."),
    "es": ("¿Diga?", "Hola, buenos días.", "¿Sí?"),
    "it": ("Pronto?", "Pronto, chi parla?", "Sì?"),
    "nl": ("Hallo?", "Goedemorgen.", "Ja, hallo?"),
    "pl": ("Halo?", "Słucham?", "Tak, słucham."),
}
MACHINES = {
    "en-us": (
        "Hi, you have reached our voicemail. We can't come to the phone right now. "
        "Please leave a message after the tone.",
        "The person you are calling is not available. At the tone, please record your message.",
    ),
    "en-gb": (
        "Thank you for calling. Our office is closed at the moment. "
        "Please leave your name and number after the beep.",
        "Welcome to the messaging service. Nobody can take your call. Please speak after the tone.",
    ),
    "de": (
        "Guten Tag, Sie sind mit unserem Anrufbeantworter verbunden. "
        "Bitte hinterlassen Sie eine Nachricht nach dem Signalton.",
        "Der gewünschte Teilnehmer ist zur Zeit nicht erreichbar. Bitte sprechen Sie nach dem Ton.",
    ),
    "fr-fr": (
        "Bonjour, vous êtes bien sur notre répondeur. Merci de laisser un message après le signal sonore.",
        "Votre correspondant n'est pas disponible. Veuillez parler après le bip.",
    ),
    "es": (
        "Hola, ha llamado a nuestro contestador. Por favor, deje su mensaje después de la señal.",
        "El número al que llama no está disponible. Puede dejar un mensaje después de oír la señal.",
    ),
    "it": (
        "Salve, risponde la segreteria telefonica. Lasciate un messaggio dopo il segnale acustico.",
        "La persona chiamata non è al momento raggiungibile. Lasciate un messaggio dopo il tono.",
    ),
    "nl": (
        "Goedendag, dit is ons antwoordapparaat. Spreek uw bericht in na de pieptoon.",
        "Degene die u belt is niet bereikbaar. Laat een bericht achter na de toon.",
    ),
    "pl": (
        "Dzień dobry, tu automatyczna sekretarka. Proszę zostawić wiadomość po sygnale.",
        "Abonent jest czasowo niedostępny. Proszę zostawić wiadomość po usłyszeniu sygnału.",
    ),
}
TALKATIVE = {
    "en-us": "Good morning, thank you very much for calling our service desk, how can I help you today?",
    "de": "Guten Morgen, herzlich willkommen in unserer Werkstatt, was kann ich heute für Sie tun?",
    "fr-fr": "Bonjour, service après-vente de la maison, que puis-je faire pour vous aujourd'hui ?",
    "es": "Buenos días, gracias por llamar a nuestra oficina, ¿en qué puedo ayudarle hoy?",
}
CURT = {
    "en-us": "Leave a message.",
    "de": "Nachricht nach dem Ton.",
    "fr-fr": "Laissez un message.",
    "es": "Deje un mensaje.",
}
VOICES = ("+f2", "+m3", "+f4", "+m1")
LEVELS_DBFS = (-16.0, -22.0, -28.0)
NOISES_DBFS = (-70.0, -60.0, -52.0)
BEEPS = ((1000, 400), (850, 300), (1200, 250), (950, 800))


@dataclass(frozen=True, slots=True)
class Sample:
    """One call.

    Attributes:
        group: row of the table.
        right: the verdicts that are right.
        beep_ms: where its beep begins, None without one.
    """

    group: str
    name: str
    right: tuple[str, ...]
    audio: Pcm
    beep_ms: int | None = None


def spoken(voice: str, text: str, speed: int) -> Audio:
    """Let the synthesiser speak, without the silence around it, at the line's rate."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    said = subprocess.run(command, check=True, capture_output=True).stdout
    # A stream's header gives no length: the reader takes what is there.
    with wave.open(io.BytesIO(said)) as file:
        rate_hz = file.getframerate()
        pcm = np.frombuffer(file.readframes(len(said)), np.int16).astype(np.float64)
    loud = np.flatnonzero(np.abs(pcm) > 200)
    pcm = pcm[loud[0] : loud[-1] + 1]
    common = int(np.gcd(rate_hz, LINE_HZ))
    return np.asarray(signal.resample_poly(pcm, LINE_HZ // common, rate_hz // common), np.float64)


def tones(frequencies_hz: tuple[int, ...], ms: int) -> Audio:
    time = np.arange(LINE_HZ * ms // 1000) / LINE_HZ
    return np.asarray(sum(np.sin(2 * np.pi * hz * time) for hz in frequencies_hz), np.float64)


def silence(ms: int) -> Audio:
    return np.zeros(LINE_HZ * ms // 1000)


def at_level(audio: Audio, dbfs: float) -> Audio:
    """Scale to a level over the parts that are not silent."""
    active = audio[np.abs(audio) > np.abs(audio).max() / 50]
    return np.asarray(audio * 32768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(active**2)), np.float64)


def by_telephone(
    parts: list[Audio], noise_dbfs: float, rng: np.random.Generator, *, seconds: int = CALL_S
) -> Pcm:
    """Send a call of at least so many seconds through a telephone line."""
    audio = np.concatenate(parts)
    audio = np.concatenate((audio, np.zeros(max(0, LINE_HZ * seconds - audio.size))))
    audio = audio + rng.normal(0, 32768 * 10 ** (noise_dbfs / 20), audio.size)
    band = signal.butter(4, (300, 3400), "bandpass", fs=LINE_HZ, output="sos")
    pcm = np.clip(np.rint(signal.sosfilt(band, audio)), -32768, 32767).astype(np.int16)
    return ULAW_TO_PCM[PCM_TO_ULAW[pcm.view(np.uint16)]]


def samples() -> Iterator[Sample]:
    """Make every sample; the same each time."""
    rng = np.random.default_rng(20)
    voices, levels, noises, beeps = cycle(VOICES), cycle(LEVELS_DBFS), cycle(NOISES_DBFS), cycle(BEEPS)

    def greeting(language: str, text: str) -> Audio:
        speed = int(rng.integers(140, 190))
        return at_level(spoken(language + next(voices), text, speed), next(levels))

    def before() -> Audio:
        return silence(int(rng.integers(10, 60)) * 20)

    def call(*parts: Audio, noise_dbfs: float | None = None) -> Pcm:
        return by_telephone(list(parts), next(noises) if noise_dbfs is None else noise_dbfs, rng)

    for language, texts in PEOPLE.items():
        for text in texts:
            audio = call(before(), greeting(language, text))
            yield Sample("person, a word or two", f"{language}: {text}", ("human",), audio)
    for language, announcements in MACHINES.items():
        for text in announcements:
            hz, ms = next(beeps)
            parts = [before(), greeting(language, text), silence(int(rng.integers(10, 50)) * 20)]
            begin_ms = sum(part.size for part in parts) * 1000 // LINE_HZ
            audio = call(*parts, at_level(tones((hz,), ms), -20))
            name = f"{language}: {text[:40]}… and {ms} ms of {hz} Hz"
            yield Sample("machine with beep", name, ("machine",), audio, begin_ms)
    for noise_dbfs in (-120.0, -70.0, -60.0, -50.0, -46.0):
        audio = call(silence(1000), noise_dbfs=noise_dbfs)
        yield Sample("silence and line noise", f"noise of {noise_dbfs:.0f} dBFS", ("no_speech",), audio)
    yield from _signals(call)
    for language, text in TALKATIVE.items():
        audio = call(before(), greeting(language, text))
        yield Sample("hard: person with a long greeting", f"{language}: {text[:40]}…", ("human",), audio)
    for language, text in CURT.items():
        parts = [before(), greeting(language, text), silence(400)]
        begin_ms = sum(part.size for part in parts) * 1000 // LINE_HZ
        audio = call(*parts, at_level(tones((1000,), 400), -20))
        yield Sample(
            "hard: machine with a short greeting", f"{language}: {text}", ("machine",), audio, begin_ms
        )
    for language, hellos in list(PEOPLE.items())[:4]:
        audio = call(before(), greeting(language, hellos[0]), noise_dbfs=-36.0)
        yield Sample("hard: person in loud noise", f"{language}: {hellos[0]}", ("human",), audio)


def _signals(call: Callable[..., Pcm]) -> Iterator[Sample]:
    """Tones of the network: nobody has answered, so that only a person is wrong."""
    cadences = {
        "dial tone 425 Hz": ((425,), 6000, 0),
        "ringback 440 + 480 Hz": ((440, 480), 2000, 4000),
        "ringback 425 Hz": ((425,), 1000, 4000),
        "busy 480 + 620 Hz": ((480, 620), 500, 500),
        "busy 425 Hz": ((425,), 480, 480),
        "congestion 480 + 620 Hz": ((480, 620), 250, 250),
        "fax answer 2100 Hz": ((2100,), 3000, 0),
    }
    for name, (frequencies_hz, on_ms, off_ms) in cadences.items():
        cycle_parts = [at_level(tones(frequencies_hz, on_ms), -18), silence(off_ms)]
        repeats = CALL_S * 1000 // (on_ms + off_ms)
        audio = call(silence(300), *(cycle_parts * repeats))
        yield Sample("network tones", name, ("machine", "no_speech", "not_sure"), audio[: LINE_HZ * CALL_S])


def analyse(audio: Pcm) -> tuple[AmdVerdict, int | None]:
    """Run a call through the analysis as a leg's tap does; returns the verdict and when a beep was told."""
    analyser = AmdAnalyser(LIMITS, now=0.0)
    resampler = StreamResampler(LINE_HZ, 16000)
    verdict: AmdVerdict | None = None
    told_ms: int | None = None
    for start in range(0, audio.size, LINE_HZ // 50):
        for outcome in analyser.feed(resampler.process(audio[start : start + LINE_HZ // 50])):
            if isinstance(outcome, AmdBeep):
                assert verdict is not None
                told_ms = verdict.total_analysis_ms + outcome.beep_ms
            else:
                verdict = outcome
    assert verdict is not None
    return verdict, told_ms


@dataclass(slots=True)
class Tally:
    """What the analysis said of all samples.

    Attributes:
        verdicts: how often each verdict in each group, how many there are (`all`) and are right (`right`).
        beeps: after a machine: how many `found`, `missed` and `false`.
    """

    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    beeps: Counter[str] = field(default_factory=Counter)

    def add(self, sample: Sample) -> str:
        """Analyse one sample; returns a line about it, which an exclamation mark begins if it is wrong."""
        verdict, told_ms = analyse(sample.audio)
        counts = self.verdicts.setdefault(sample.group, Counter())
        counts[verdict.result] += 1
        counts["all"] += 1
        counts["right"] += verdict.result in sample.right
        if verdict.result == "machine":
            self.beeps[judge_beep(sample.beep_ms, told_ms)] += 1
        mark = " " if verdict.result in sample.right else "!"
        return f"{mark} {sample.name}: {verdict}, beep {sample.beep_ms}/{told_ms}"

    def lines(self) -> list[str]:
        """The table and the sentence about beeps as they are published."""
        total: Counter[str] = Counter()
        for group, counts in self.verdicts.items():
            if not group.startswith("hard"):
                total += counts
        found, missed, false = (self.beeps[name] for name in ("found", "missed", "false"))
        return [
            "| Samples | Number | human | machine | no_speech | not_sure | right |",
            "|---|---|---|---|---|---|---|",
            *(_row(group, counts) for group, counts in self.verdicts.items()),
            _row("all but the hard ones", total),
            "",
            f"Beeps after a machine: {found} found, {missed} missed, {false} false.",
        ]


def judge_beep(begin_ms: int | None, told_ms: int | None) -> str:
    """Say whether the beep that was told, if any, is the one that was there, if any."""
    if told_ms is None:
        return "none" if begin_ms is None else "missed"
    if begin_ms is None or not begin_ms <= told_ms <= begin_ms + 400:
        return "false"
    return "found"


def _row(group: str, counts: Counter[str]) -> str:
    shown = [counts[name] or "" for name in ("human", "machine", "no_speech", "not_sure")]
    share = f"{100 * counts['right'] / counts['all']:.0f} %"
    return f"| {group} | {counts['all']} | {' | '.join(map(str, shown))} | {share} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--each", action="store_true", help="a line for each sample on standard error")
    each = parser.parse_args().each
    tally = Tally()
    for sample in samples():
        line = tally.add(sample)
        if each:
            print(line, file=sys.stderr)
    print("\n".join(tally.lines()))


if __name__ == "__main__":
    main()
