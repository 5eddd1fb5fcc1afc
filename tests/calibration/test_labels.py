"""The right class of each sample: from folders, from files, from what yields samples; and the libraries' data sets."""

import functools
import json
import os

import numpy as np
import pytest
from PIL import Image

from perceiver_edge.calibration import as_source, open_source, split
from perceiver_edge.calibration.labels import read_labels
from perceiver_edge.calibration.tensors import single_items
from perceiver_edge.errors import BadInputError

SHAPE = (4, 6, 3)


def values(count=6):
    return np.random.default_rng(0).standard_normal((count, *SHAPE)).astype(np.float32)


def labels_of(source):
    """Of all samples, in order."""
    indices = [index for index, _ in sorted(source.digests(np.random.default_rng(0)))]
    return source.labels_of(indices)


def pictures(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (40 * number, 9, 9)).save(folder / name)
    return folder


class TestFolders:
    NAMES = ("dog/a.png", "dog/deep/b.png", "Zebra/c.png", "ant/d.png", "ant10/e.png", "ant9/f.png")

    def test_they_are_numbered_as_torchvision_numbers_them(self, tmp_path):
        source = open_source(str(pictures(tmp_path, *self.NAMES)), shape=SHAPE)
        assert source.label_names == ("Zebra", "ant", "ant10", "ant9", "dog")
        number_of = dict(zip(source.keys, source.labels.tolist(), strict=True))
        assert number_of == {
            "dog/a.png": 4, "dog/deep/b.png": 4, "Zebra/c.png": 0, "ant/d.png": 1, "ant10/e.png": 2, "ant9/f.png": 3
        }  # fmt: skip

    def test_beside_torchvision_itself(self, tmp_path):
        datasets = pytest.importorskip("torchvision.datasets")
        source = open_source(str(pictures(tmp_path, *self.NAMES)), shape=SHAPE)
        theirs = datasets.ImageFolder(tmp_path)
        assert list(source.label_names) == theirs.classes
        assert sorted((str(tmp_path / key), label) for key, label in zip(source.keys, source.labels, strict=True)) == (
            sorted(theirs.samples)
        )

    def test_a_folder_without_pictures_keeps_its_number_and_a_hidden_one_has_none(self, tmp_path):
        pictures(tmp_path, "b/1.png", "c/2.png", ".cache/3.png")
        (tmp_path / "a").mkdir()
        source = open_source(str(tmp_path), shape=SHAPE)
        assert (source.label_names, source.labels.tolist()) == (("a", "b", "c"), [1, 2])

    def test_pictures_beside_the_folders_are_of_no_class(self, tmp_path):
        source = open_source(str(pictures(tmp_path, "a/1.png", "2.png")), shape=SHAPE)
        assert source.label_names is None
        assert source.labels is None


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "content", "labels"),
        [
            ("a.txt", "2\n0\n1\n", [2, 0, 1]),
            ("a.txt", "cat\ndog\n", ["cat", "dog"]),
            ("a.csv", "file,label\na.png,cat\nb.png,3\n", {"a.png": "cat", "b.png": 3}),
            ("a.csv", "\ufeffb/a.png, cat\r\n", {"b/a.png": "cat"}),
            ("a.tsv", "a, b.png\tcat\n", {"a, b.png": "cat"}),
            ("a.json", "[1, 2]", [1, 2]),
            ("a.json", json.dumps({"a.png": "cat"}), {"a.png": "cat"}),
        ],
    )
    def test_what_can_be_read(self, name, content, labels, tmp_path):
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert read_labels(tmp_path / name) == labels

    def test_integers_of_numpy(self, tmp_path):
        np.save(tmp_path / "a.npy", np.uint8([2, 0]))
        assert read_labels(tmp_path / "a.npy") == [2, 0]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.txt", b""), ("a.txt", b"a,b,c\n"), ("a.txt", b"1\n2,3\n"), ("a.txt", b"\xff\xfe\x00"), ("a.json", b"{"),
            ("a.json", b"3"), ("a.json", b"[1.5]"), ("a.json", b"[]"), ("a.json", b"[true]"),
            ("a.csv", b"x" * 200_000 + b"\n"),
        ],
    )  # fmt: skip
    def test_what_cannot(self, name, content, tmp_path):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInputError, match="labels cannot be read"):
            read_labels(tmp_path / name)

    @pytest.mark.parametrize("name", ["a.txt", "a.json", "a.npy"])
    def test_what_is_no_file(self, name, tmp_path):
        with pytest.raises(BadInputError, match=rf"No such file|it is no file[^$]*{name}"):
            read_labels(tmp_path / name)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among its files")
    @pytest.mark.parametrize("name", ["a.txt", "a.json", "a.npy"])
    def test_what_is_a_pipe(self, name, tmp_path):
        os.mkfifo(tmp_path / name)
        with pytest.raises(BadInputError, match=rf"(a pipe|it is no file)[^$]*{name}"):
            read_labels(tmp_path / name)

    def test_damaged_and_other_arrays(self, tmp_path):
        np.savez(tmp_path / "a.npz", labels=np.arange(3))
        for content in (b"\x93NUM", (tmp_path / "a.npz").read_bytes()):
            (tmp_path / "a.npy").write_bytes(content)
            with pytest.raises(BadInputError, match="cannot be read"):
                read_labels(tmp_path / "a.npy")

    @pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.json", "a.npy"])
    def test_a_number_beyond_every_array_is_no_label(self, name, tmp_path):
        huge = 10**19
        content = {"a.txt": f"1\n{huge}", "a.csv": f"a.png,{huge}\nb.png,1", "a.json": json.dumps([1, huge])}
        (tmp_path / name).write_text(content.get(name, ""))
        if name == "a.npy":
            np.save(tmp_path / name, np.array([1, huge], np.uint64))
        with pytest.raises(BadInputError, match=str(huge)):
            read_labels(tmp_path / name)

    def test_floats_are_no_labels(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros(3))
        with pytest.raises(BadInputError, match="float64"):
            read_labels(tmp_path / "a.npy")


class TestBesideTheSample:
    WANTED = (3, 1, 4, 1, 5, 9)

    @pytest.mark.parametrize(
        "wrap",
        [
            list,
            lambda pairs: lambda: ({"input": x, "label": y} for x, y in pairs),
            lambda pairs: lambda: ((x, np.eye(10)[y]) for x, y in pairs),
            lambda pairs: lambda: (({"input": x}, np.array([y])) for x, y in pairs),
        ],
        ids=["pairs", "mappings", "one-hot", "mapping and label"],
    )
    def test_it_is_taken(self, wrap):
        source = as_source(wrap([*zip(values(), self.WANTED, strict=True)]), shape=SHAPE)
        assert labels_of(source).tolist() == list(self.WANTED)

    def test_each_part_gets_its_own(self):
        pairs = list(zip(values(), self.WANTED, strict=True))
        parts = split(as_source(pairs, shape=SHAPE), num_calibration=3, num_held_out=3, seed=0)
        for part in parts:
            assert part.labels.tolist() == [self.WANTED[index] for index in part.digests]

    def test_without_labels_there_are_none(self):
        assert labels_of(as_source(list(values()), shape=SHAPE)) is None

    def test_some_with_and_some_without_is_an_error(self):
        source = as_source([(x, None if index == 2 else 1) for index, x in enumerate(values())], shape=SHAPE)
        with pytest.raises(BadInputError, match=r"others have none(.|\n)*sample 2"):
            labels_of(source)

    @pytest.mark.parametrize(
        "label", [1.5, "cat", np.array([1, 2]), np.array([0.3, 0.7]), [[1], [2, 3]], 10**19], ids=str
    )
    def test_what_is_no_label(self, label):
        with pytest.raises(BadInputError, match=r"label is not usable(.|\n)*sample 0"):
            next(iter(as_source([(values()[0], label)], shape=SHAPE)))


class TestTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.fixture
    def channels_first(self, torch):
        return torch.from_numpy(np.moveaxis(values(), -1, 1).copy())

    def read(self, source):
        np.testing.assert_array_equal([sample["input"] for sample in source], values())
        return source

    def test_a_tensor(self, torch, channels_first):
        self.read(as_source(torch.from_numpy(values()).requires_grad_(), shape=SHAPE))
        self.read(as_source(channels_first, shape=SHAPE))
        self.read(as_source(list(torch.from_numpy(values())), shape=SHAPE))

    def test_half_precision(self, torch):
        half = torch.from_numpy(values()).to(torch.bfloat16)
        sample = next(iter(as_source(half, shape=SHAPE)))
        np.testing.assert_array_equal(sample["input"], half[0].float().numpy())

    def test_a_data_set(self, torch, channels_first):
        data = torch.utils.data.TensorDataset(channels_first, torch.tensor([3, 1, 4, 1, 5, 9]))
        assert labels_of(self.read(as_source(data, shape=SHAPE))).tolist() == [3, 1, 4, 1, 5, 9]

    @pytest.mark.parametrize("options", [{"batch_size": 4}, {"batch_size": 2, "shuffle": True}, {"batch_size": None}])
    def test_a_loader_however_it_batches_and_shuffles(self, torch, channels_first, options):
        data = torch.utils.data.TensorDataset(channels_first, torch.tensor([3, 1, 4, 1, 5, 9]))
        loader = torch.utils.data.DataLoader(data, **options)
        assert labels_of(self.read(as_source(loader, shape=SHAPE))).tolist() == [3, 1, 4, 1, 5, 9]

    @pytest.mark.parametrize("form", ["sampler", "batch sampler", "subset"])
    def test_a_loader_of_some_gives_no_others(self, torch, channels_first, form):
        tools = torch.utils.data
        data = tools.TensorDataset(channels_first, torch.tensor([3, 1, 4, 1, 5, 9]))
        sampler = tools.SubsetRandomSampler([4, 1, 2])
        loader = {
            "sampler": lambda: tools.DataLoader(data, sampler=sampler, batch_size=2),
            "batch sampler": lambda: tools.DataLoader(data, batch_sampler=[[4, 1], [2]]),
            "subset": lambda: tools.DataLoader(tools.Subset(data, [1, 2, 4])),
        }[form]()
        source = as_source(loader, shape=SHAPE)
        np.testing.assert_array_equal([sample["input"] for sample in source], values()[[1, 2, 4]])
        assert labels_of(source).tolist() == [1, 4, 5]

    def test_a_loader_whose_batches_are_made_by_an_object_without_a_name(self, torch, channels_first):
        data = torch.utils.data.TensorDataset(channels_first)
        collate = functools.partial(lambda items, scale: torch.stack([item[0] for item in items]) * scale, scale=1.0)
        self.read(as_source(torch.utils.data.DataLoader(data, batch_size=4, collate_fn=collate), shape=SHAPE))

    def test_a_data_set_that_fails_is_told_with_its_sample(self, torch):
        class Failing(torch.utils.data.Dataset):
            def __len__(self):
                return 3

            def __getitem__(self, index):
                raise OSError("the disk is gone")

        for samples in (Failing(), torch.utils.data.DataLoader(Failing(), batch_size=2)):
            with pytest.raises(BadInputError, match=r"the disk is gone(.|\n)*sample 0"):
                next(iter(as_source(samples, shape=SHAPE)))

    def test_a_tensor_without_numbers_is_no_samples(self, torch):
        with pytest.raises(BadInputError, match="not an array"):
            as_source(torch.zeros((2, *SHAPE), device="meta"), shape=SHAPE)

    def test_a_loader_of_a_stream(self, torch, channels_first):
        class Stream(torch.utils.data.IterableDataset):
            def __iter__(self):
                return zip(channels_first, range(6), strict=True)

        for samples in (Stream(), torch.utils.data.DataLoader(Stream(), batch_size=4)):
            assert labels_of(self.read(as_source(samples, shape=SHAPE))).tolist() == [0, 1, 2, 3, 4, 5]

    def test_other_data_with_channels_first_is_told_how_to_move_them(self):
        with pytest.raises(BadInputError, match=r"np.moveaxis\(sample, 0, -1\)"):
            next(iter(as_source([np.zeros((3, 4, 6), np.float32)], shape=SHAPE)))


@pytest.mark.parametrize("batched", [False, True])
def test_a_tf_data_set(batched):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((values(), [3, 1, 4, 1, 5, 9]))
    source = as_source(data.batch(4) if batched else data, shape=SHAPE)
    np.testing.assert_array_equal([sample["input"] for sample in source], values())
    assert labels_of(source).tolist() == [3, 1, 4, 1, 5, 9]


@pytest.mark.parametrize("first", ["input", "mask"])
def test_a_batched_mapping_is_unpacked_whatever_stands_first(first):
    batch = {"input": values(), "mask": np.ones((6, 4, 6), bool)}
    batch = {first: batch[first], **batch}
    source = as_source(lambda: single_items([batch], SHAPE), shape=SHAPE)
    np.testing.assert_array_equal([sample["input"] for sample in source], values())


def test_a_tf_data_set_that_shuffles_is_told_to_do_so_once():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(values()).shuffle(6)
    source = as_source(data, shape=SHAPE)
    with pytest.raises(BadInputError, match="reshuffle_each_iteration=False"):
        for _ in range(9):  # by chance an order may come twice
            parts = split(source, num_calibration=3, num_held_out=3, seed=0)
            [list(part) for part in parts]
