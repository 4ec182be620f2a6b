"""Whose turn it is, frame by frame, on a clock of our own."""

from __future__ import annotations

import pytest

from vb.agents.runtime.decisions import (
    AskFinal,
    AskTurn,
    Decision,
    Guess,
    Interrupt,
    Noise,
    Pause,
    Resume,
    Timing,
    UserTurn,
)
from vb.agents.runtime.turns import TurnTaking

FRAME_S = 0.02


class Clock:
    """Plays a conversation into `TurnTaking`, 20 ms at a time."""

    def __init__(self, timing: Timing | None = None) -> None:
        self.turns = TurnTaking(timing)
        self.now = 10.0
        self.found: list[tuple[float, Decision]] = []
        self.guesses: list[str] = []

    def play(self, seconds: float, *, voiced: bool = False) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.now += FRAME_S
            if voiced:
                self.turns.voiced(self.now)
            for item in self.turns.decide(self.now):
                if isinstance(item, Guess):
                    self.guesses.append(item.text)
                else:
                    self.found.append((self.now, item))

    def kinds(self) -> list[type]:
        return [type(item) for _, item in self.found]

    def at(self, kind: type) -> float:
        return next(now for now, item in self.found if type(item) is kind)


def test_a_turn_is_over_when_its_words_are_final_and_the_silence_is_long_enough() -> None:
    clock = Clock()
    clock.play(1.0, voiced=True)
    ended_at = clock.now
    clock.play(0.3)
    clock.turns.final("hello")
    clock.play(0.3)
    assert clock.kinds() == [AskFinal, UserTurn]
    assert clock.found[1][1] == UserTurn("hello", ended_at)
    assert 0.4 <= clock.at(UserTurn) - ended_at <= 0.43


def test_words_that_become_final_late_end_the_turn_when_they_come() -> None:
    clock = Clock()
    clock.play(1.0, voiced=True)
    ended_at = clock.now
    clock.turns.partial("hel")
    clock.play(1.2)
    clock.turns.final("hello")
    clock.play(0.1)
    assert 1.2 <= clock.at(UserTurn) - ended_at <= 1.25


def test_a_turn_is_never_longer_open_than_the_longest_silence() -> None:
    clock = Clock()
    clock.play(1.0, voiced=True)
    ended_at = clock.now
    clock.turns.partial("hello")
    clock.play(4.0)
    assert 2.5 <= clock.at(UserTurn) - ended_at <= 2.53


def test_a_pause_for_breath_does_not_end_a_turn() -> None:
    clock = Clock()
    clock.play(0.6, voiced=True)
    clock.turns.final("one")
    clock.play(0.3)
    clock.play(0.6, voiced=True)
    clock.turns.final("two")
    clock.play(0.5)
    assert [item for _, item in clock.found if isinstance(item, UserTurn)] == [
        UserTurn("one two", clock.found[-1][1].ended_at)  # type: ignore[union-attr]  # it is a turn
    ]


def test_a_click_is_nobodys_turn() -> None:
    clock = Clock()
    clock.play(0.04, voiced=True)
    clock.play(4.0)
    assert clock.found == []


def test_noise_without_words_is_told_as_such() -> None:
    clock = Clock()
    clock.play(0.5, voiced=True)
    clock.play(2.0)
    assert clock.kinds() == [AskFinal, Noise]


def test_speech_pauses_the_agent_first_and_interrupts_it_then() -> None:
    clock = Clock()
    clock.turns.agent(True)
    begun = clock.now
    clock.play(0.5, voiced=True)
    assert clock.kinds()[:2] == [Pause, Interrupt]
    assert clock.at(Pause) - begun <= 0.1
    assert clock.at(Interrupt) - begun == pytest.approx(0.2)


def test_a_cough_lets_the_agent_go_on_once() -> None:
    clock = Clock()
    clock.turns.agent(True)
    clock.play(0.12, voiced=True)
    clock.play(1.0)
    assert clock.kinds() == [Pause, Resume]
    assert clock.turns.false_interruptions == 1
    assert clock.at(Resume) - clock.at(Pause) < 0.4


def test_an_interruption_may_need_words() -> None:
    clock = Clock(Timing(interruption_words=2))
    clock.turns.agent(True)
    clock.play(0.6, voiced=True)
    clock.turns.partial("mhm")
    clock.play(0.1, voiced=True)
    assert clock.kinds() == [Pause]
    clock.turns.partial("mhm wait")
    clock.play(0.1, voiced=True)
    assert clock.kinds() == [Pause, Interrupt]


def test_without_the_words_the_agent_goes_on_after_a_while() -> None:
    clock = Clock(Timing(interruption_words=1))
    clock.turns.agent(True)
    clock.play(0.6, voiced=True)
    ended_at = clock.now
    clock.play(2.0)
    assert clock.kinds() == [Pause, Resume]
    assert 1.5 <= clock.at(Resume) - ended_at <= 1.53


def test_a_guarded_agent_finishes_and_then_answers_what_was_said() -> None:
    clock = Clock()
    clock.turns.interruptible = False
    clock.turns.agent(True)
    clock.play(1.0, voiced=True)
    clock.turns.final("hello")
    clock.play(3.0)
    assert clock.kinds() == [AskFinal]
    clock.turns.agent(False)
    clock.play(0.1)
    assert clock.kinds() == [AskFinal, UserTurn]


def test_an_mhm_is_no_turn_unless_the_agent_has_just_finished() -> None:
    for spoken_on, turns in ((2.0, []), (0.5, [UserTurn])):
        clock = Clock()
        clock.turns.agent(True)
        clock.play(0.12, voiced=True)
        clock.play(spoken_on / 2)
        clock.turns.final("mhm")
        clock.play(spoken_on / 2)
        clock.turns.agent(False)
        clock.play(1.0)
        assert [kind for kind in clock.kinds() if kind in (UserTurn, Noise)] == turns


def test_words_that_come_again_after_their_turn_are_not_answered_twice() -> None:
    clock = Clock()
    clock.play(1.0, voiced=True)
    clock.turns.partial("book a table")
    clock.play(3.0)
    clock.turns.final("Book a table.")
    clock.play(3.0)
    assert clock.kinds().count(UserTurn) == 1


def test_somebody_too_soft_to_be_seen_is_answered_by_his_words() -> None:
    clock = Clock()
    clock.turns.partial("hel")
    clock.play(0.3)
    clock.turns.final("hello")
    come_at = clock.now
    clock.play(1.0)
    (turn,) = [item for _, item in clock.found if isinstance(item, UserTurn)]
    assert turn.text == "hello"
    assert 0 <= turn.ended_at - come_at <= FRAME_S
    assert clock.at(UserTurn) - come_at >= 0.4


def test_half_a_minute_of_music_does_not_keep_a_turn_open_for_ever() -> None:
    clock = Clock()
    clock.play(30.0, voiced=True)
    clock.turns.final("at last")
    clock.play(0.5)
    assert isinstance(clock.found[-1][1], UserTurn)


def test_a_pause_counts_from_the_first_sample_of_speech() -> None:
    clock = Clock()
    clock.turns.agent(True)
    begun = clock.now
    clock.play(0.06, voiced=True)
    ((now, pause),) = clock.found
    assert isinstance(pause, Pause)
    assert now == pytest.approx(begun + 0.06)
    assert pause.began_at == pytest.approx(begun)


def test_frames_that_are_judged_late_count_from_when_they_were_heard() -> None:
    clock = Clock()
    clock.turns.final("hello")
    ended_at = clock.now
    for late_s in (0.3, 0.268, 0.236):
        clock.turns.voiced(ended_at - late_s + 0.236, 0.032)
    clock.play(1.0)
    (turn,) = [item for _, item in clock.found if isinstance(item, UserTurn)]
    assert turn.ended_at == ended_at
    assert clock.at(UserTurn) - ended_at <= 0.43


MODEL = Timing(min_endpointing_s=0.3, turn_model=True)


@pytest.mark.parametrize(
    ("verdict", "after_s", "over_s"),
    [(True, 0.22, 0.3), (True, 0.36, 0.36), (None, 0.22, 0.4), (False, 0.22, 2.5)],
)
def test_a_turn_model_makes_the_agent_quicker_or_more_patient(
    verdict: bool | None, after_s: float, over_s: float
) -> None:
    clock = Clock(MODEL)
    clock.play(1.0, voiced=True)
    ended_at = clock.now
    clock.turns.final("and then")
    clock.play(after_s)
    (asked,) = [item for _, item in clock.found if isinstance(item, AskTurn)]
    clock.turns.judged(asked.silence, verdict)
    clock.play(3.0)
    turn = next(item for _, item in clock.found if isinstance(item, UserTurn))
    assert over_s <= clock.at(UserTurn) - ended_at <= over_s + 0.03
    assert turn.wait_s <= over_s


def test_a_verdict_on_an_earlier_silence_counts_for_nothing() -> None:
    clock = Clock(MODEL)
    clock.play(1.0, voiced=True)
    clock.play(0.24)
    (asked,) = [item for _, item in clock.found if isinstance(item, AskTurn)]
    clock.play(0.5, voiced=True)
    ended_at = clock.now
    clock.turns.final("well")
    clock.turns.judged(asked.silence, False)
    clock.play(1.0)
    assert 0.4 <= clock.at(UserTurn) - ended_at <= 0.43
    assert clock.kinds().count(AskTurn) == 2


def test_a_provider_that_tells_turns_is_not_asked_to_end_them_before_the_last_moment() -> None:
    clock = Clock(Timing(min_endpointing_s=0.3, provider_turns=True))
    clock.play(1.0, voiced=True)
    clock.turns.partial("well")
    clock.play(1.0)
    assert clock.kinds() == []
    clock.turns.final("well")
    clock.play(0.02)
    assert clock.kinds() == [UserTurn]
    clock.play(1.0, voiced=True)
    ended_at = clock.now
    clock.turns.final("quick")
    clock.play(0.5)
    assert 0.3 <= clock.found[-1][0] - ended_at <= 0.33
    clock.play(1.0, voiced=True)
    clock.turns.partial("no end")
    clock.play(2.4)
    assert clock.kinds() == [UserTurn, UserTurn, AskFinal]


def test_an_answer_is_begun_three_times_at_most_and_withdrawn_when_the_words_change() -> None:
    clock = Clock()
    for number in range(5):
        clock.play(0.3, voiced=True)
        clock.turns.partial("one")
        clock.play(0.1)
        clock.turns.final(f"word{number}")
        clock.play(0.1)
    one, two, three = "word0", "word0 word1", "word0 word1 word2"
    assert clock.guesses == [one, "", two, "", three, ""]
    clock.play(1.0)
    assert [type(item) for _, item in clock.found][-1] is UserTurn
    clock.play(0.3, voiced=True)
    clock.turns.final("next")
    clock.play(0.1)
    assert clock.guesses[6:] == ["next"]


def test_no_answer_to_long_speech_is_begun_early() -> None:
    clock = Clock()
    for _ in range(30):
        clock.play(0.3, voiced=True)
        clock.play(0.1)
    clock.turns.final("a long story")
    clock.play(0.1)
    assert clock.guesses == []


def test_what_a_provider_takes_to_be_over_is_guessed_until_it_takes_it_back() -> None:
    clock = Clock(Timing(min_endpointing_s=0.3, provider_turns=True))
    clock.play(0.5, voiced=True)
    clock.turns.may_be_over("book a table")
    clock.play(0.1)
    clock.turns.may_be_over("")
    clock.play(0.1)
    assert clock.guesses == ["book a table", ""]


def test_music_is_given_up_and_words_over_it_are_still_answered() -> None:
    clock = Clock()
    begun = clock.now
    clock.play(30.0, voiced=True)
    assert clock.kinds() == [Noise]
    assert clock.at(Noise) - begun <= 20.1
    clock.turns.final("hello there")
    said_at = clock.now
    clock.play(1.0, voiced=True)
    (turn,) = [(now, item) for now, item in clock.found if isinstance(item, UserTurn)]
    assert 0.4 <= turn[0] - said_at <= 0.45
    clock.play(0.3)
    clock.play(0.5, voiced=True)
    clock.turns.final("again")
    clock.play(0.5)
    assert clock.kinds().count(UserTurn) == 2


def test_a_sound_of_which_nobody_knows_yet_whether_it_is_speech_pauses_the_agent_for_a_moment() -> None:
    clock = Clock()
    clock.turns.agent(True)
    begun = clock.now
    for _ in range(100):  # two seconds of a noise that never is speech
        clock.turns.sounded(clock.now + FRAME_S)
        clock.play(FRAME_S)
    assert clock.kinds() == [Pause, Resume]
    assert clock.at(Pause) - begun == pytest.approx(0.06)
    assert clock.at(Resume) - begun <= 0.23
    clock.play(1.0)
    clock.turns.sounded(clock.now)
    clock.play(0.1)
    assert clock.kinds() == [Pause, Resume]
    for _ in range(4):
        clock.turns.sounded(clock.now + FRAME_S)
        clock.play(FRAME_S)
    assert clock.kinds() == [Pause, Resume, Pause]


def test_a_sound_that_turns_out_to_be_speech_interrupts_the_agent() -> None:
    clock = Clock()
    clock.turns.agent(True)
    begun = clock.now
    for number in range(17):
        clock.turns.sounded(clock.now + FRAME_S)
        clock.play(FRAME_S, voiced=number >= 6)
    assert clock.kinds() == [Pause, Interrupt]
    assert clock.at(Pause) - begun == pytest.approx(0.06)
    assert clock.at(Interrupt) - begun == pytest.approx(0.32, abs=0.021)
