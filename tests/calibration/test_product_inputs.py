import numpy as np

from perceiver_edge.calibration.product_inputs import ROWS, SAMPLES, product_inputs


def taps(sample):
    (value,) = sample["input"].reshape(-1)
    return {
        "a.input": np.full((1, 300, 5), value), "a.output": np.zeros((1, 300, 2)), "b.input": np.full((1, 7), value),
    }  # fmt: skip


def samples(count):
    return ({"input": np.full((1,), index, np.float32)} for index in range(count))


def test_rows_of_the_first_samples_are_drawn_by_site():
    rows = product_inputs(taps, samples(20))
    assert {site: values.shape for site, values in rows.items()} == {"a": (SAMPLES * ROWS, 5), "b": (SAMPLES, 7)}
    assert list(rows["b"][:, 0]) == list(range(SAMPLES))


def test_they_are_the_same_again():
    def noisy(sample):
        return {"a.input": np.random.default_rng(int(sample["input"].sum())).normal(size=(1, 300, 5))}

    once, again = product_inputs(noisy, samples(3)), product_inputs(noisy, samples(3))
    assert np.array_equal(once["a"], again["a"])


def test_without_samples_there_is_nothing():
    assert product_inputs(taps, samples(0)) == {}
