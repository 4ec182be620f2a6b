import numpy as np

from tests.mixer.support import level
from vb.mixer.noise import comfort_noise, noise_loop


def test_noise_is_continuous_from_tick_to_tick() -> None:
    slots = np.array([3])
    frames = np.concatenate([comfort_noise(slots, tick, 16000)[0] for tick in range(200)])
    loop = noise_loop(16000)
    start = 3 * 61 % 200 * 320
    assert (frames == np.roll(loop, -start)).all()


def test_legs_hear_different_noise() -> None:
    frames = comfort_noise(np.arange(10), 5, 8000)
    assert len({frame.tobytes() for frame in frames}) == 10


def test_the_level_is_the_same_at_every_rate() -> None:
    levels = [level(noise_loop(rate_hz)) for rate_hz in (8000, 16000, 48000)]
    assert max(levels) / min(levels) < 1.02
