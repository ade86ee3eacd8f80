"""The two-way table: names and shapes, before any weight is read."""

from dataclasses import replace

import pytest

from transformers_jax.hub.table import Row, Table, Tying, rows, slots

L, D, H, G, K, F, V = 3, 5, 7, 2, 11, 13, 17

GPT = Table(
    rows(
        """
        model.wte.weight                  | embed.table
        model.h.{i}.ln.weight             | stack.blocks.0.self_norm.scale
        model.h.{i}.attn.qkv.weight       | b.query b.key b.value | d (n h k) -> n d h k
        model.h.{i}.attn.proj.weight      | b.out                 | (h k) d -> h k d
        model.h.{i}.attn.bias             |
        """
    )
    + rows("head.weight | head.kernel | v d -> d v\n head.bias | head.shift", group="head"),
    prefix="model.",
    aliases=((r"\.gamma$", ".weight"),),
    ignore=("*.position_ids",),
    ties=(Tying("model.wte.weight", "head.weight"),),
)
OURS = {
    "embed.table": (V, D),
    "stack.blocks.0.self_norm.scale": (L, D),
    **{f"b.{name}": (L, D, H, K) for name in ("query", "key", "value")},
    "b.out": (L, H, K, D),
}
HEAD = {"head.kernel": (D, V), "head.shift": (V,)}
THEIRS = {
    "model.wte.weight": (V, D),
    **{f"model.h.{i}.ln.weight": (D,) for i in range(L)},
    **{f"model.h.{i}.attn.qkv.weight": (D, 3 * H * K) for i in range(L)},
    **{f"model.h.{i}.attn.proj.weight": (H * K, D) for i in range(L)},
}


def test_a_file_that_fits_fills_every_parameter_and_uses_every_name():
    report = GPT.check(THEIRS, OURS)
    assert report.ok
    assert {fill.name for fill in report.fills} == set(THEIRS)
    assert [fill.lead for fill in report.fills if "qkv" in fill.name] == [(0,), (1,), (2,)]


def test_one_error_lists_all_that_is_missing_unexpected_or_of_another_shape():
    theirs = dict(THEIRS)
    del theirs["model.h.1.ln.weight"], theirs["model.wte.weight"]
    theirs |= {"model.h.3.ln.weight": (D,), "stranger": (1,), "model.h.0.attn.proj.weight": (D, D)}
    with pytest.raises(ValueError, match="does not fit") as caught:
        GPT.check(theirs, OURS | {"lonely": (2,)})
    for text in ("model.h.1.ln.weight", "model.wte.weight", "model.h.3.ln.weight", "stranger",
                 f"got [{D}, {D}], expected [{H * K}, {D}]", "lonely"):  # fmt: skip
        assert text in str(caught.value)
    report = GPT.check(theirs, OURS, strict=False)
    assert report.missing == ("model.wte.weight", "model.h.1.ln.weight")
    assert report.unexpected == ("model.h.3.ln.weight", "stranger")


def test_names_of_a_head_that_is_not_wanted_are_left_out():
    table = replace(GPT, ties=())
    report = table.check(THEIRS | {"head.weight": (V, D), "head.bias": (V,)}, OURS)
    assert report.left_out == ("head.weight", "head.bias")


def test_a_head_missing_from_the_file_is_absent_but_half_a_head_is_an_error():
    report = GPT.check(THEIRS, OURS | HEAD)
    assert report.absent == {"head": ("head.kernel", "head.shift")}
    with pytest.raises(ValueError, match=r"missing \(1\):\n  head\.bias"):
        GPT.check(THEIRS | {"head.weight": (V, D)}, OURS | HEAD)


def test_a_backbone_is_never_absent():
    with pytest.raises(ValueError, match="missing"):
        GPT.check({}, OURS)


def test_older_spellings_are_understood_and_the_new_ones_written():
    bare = {name.removeprefix("model."): shape for name, shape in THEIRS.items()}
    old = {name.replace("ln.weight", "ln.gamma"): shape for name, shape in bare.items()}
    old |= {"h.0.attn.bias": (1, 1, 9, 9), "embed.position_ids": (1, 9)}
    report = GPT.check(old, OURS)
    assert {fill.canonical for fill in report.fills} == set(THEIRS)
    assert set(report.ignored) == {"h.0.attn.bias", "embed.position_ids"}
    assert GPT.bare("model.wte.weight") == "wte.weight"


def test_two_spellings_of_one_tensor_in_a_file_are_refused():
    with pytest.raises(ValueError, match="several names"):
        GPT.check(THEIRS | {"wte.weight": (V, D)}, OURS)


def test_a_copy_is_read_only_where_the_tensor_is_absent():
    theirs = {name: shape for name, shape in THEIRS.items() if "wte" not in name}
    report = GPT.check(theirs | {"head.weight": (V, D)}, OURS)
    assert ("head.weight", "model.wte.weight") in {(f.name, f.canonical) for f in report.fills}
    assert report.left_out == report.ignored == ()
    assert GPT.check(THEIRS | {"head.weight": (V, D)}, OURS).ignored == ("head.weight",)
    with pytest.raises(
        ValueError, match="missing"
    ):  # where it has a parameter, it is another array
        GPT.check(theirs | {"head.weight": (V, D), "head.bias": (V,)}, OURS | HEAD)


@pytest.mark.parametrize("stored", [("one.bias",), ("two.bias",), ("one.bias", "two.bias")])
def test_one_of_two_tied_parameters_is_both(stored):
    pair, ours = ("one.bias", "two.bias"), {"one": (V,), "two": (V,)}
    table = Table(rows("one.bias | one\n two.bias | two"), ties=(Tying(*pair, separate=True),))
    theirs = dict.fromkeys(stored, (V,))
    sources = {fill.canonical: fill.name for fill in table.check(theirs, ours).fills}
    assert sources == {name: name if name in stored else stored[0] for name in pair}
    with pytest.raises(ValueError, match="missing"):  # the control
        replace(table, ties=()).check({"one.bias": (V,)}, ours)


def test_a_pattern_of_slots_takes_every_second_layer():
    table = Table(slots("l.{i}.w | blocks.{slot}.w", (range(0, 4, 2), range(1, 4, 2))))
    report = table.check({f"l.{i}.w": (D,) for i in range(5)},
                         {"blocks.0.w": (3, D), "blocks.1.w": (2, D)})  # fmt: skip
    targets = {fill.name: (fill.row.ours[0], fill.lead) for fill in report.fills}
    assert targets["l.4.w"] == ("blocks.0.w", (2,))
    assert targets["l.3.w"] == ("blocks.1.w", (1,))
    assert [table.bare(f.canonical) for f in report.fills][:3] == ["l.0.w", "l.2.w", "l.4.w"]


def test_layers_and_experts_are_two_leading_axes():
    table = Table(rows("l.{i}.e.{e}.w | up | f d -> d f"))
    theirs = {f"l.{i}.e.{e}.w": (F, D) for i in range(2) for e in range(3)}
    report = table.check(theirs, {"up": (2, 3, D, F)})
    assert {fill.name: fill.lead for fill in report.fills}["l.1.e.2.w"] == (1, 2)
    with pytest.raises(ValueError, match="missing"):
        table.check(theirs, {"up": (2, 4, D, F)})


def test_a_sum_is_a_concatenation_of_unequal_parts():
    text = "qkv | q k v | (h k) d -> d h k + (g k) d -> d g k + (g k) d -> d g k"
    fill = Table(rows(text)).fills({"q": (D, H, K), "k": (D, G, K), "v": (D, G, K)})["qkv"]
    assert fill.shape == ((H + 2 * G) * K, D)
    assert [(p.start, p.stop) for p in fill.pieces] == [
        (0, H * K), (H * K, (H + G) * K), ((H + G) * K, (H + 2 * G) * K)]  # fmt: skip


def test_a_repeated_sum_holds_a_part_of_each_parameter_in_every_turn():
    text = "qkv | q k v | 2 * ((h k) d -> d h k + (h k) d -> d h k + (h k) d -> d h k)"
    fill = Table(rows(text)).fills({"q": (D, 6, K), "k": (D, 2, K), "v": (D, 2, K)})["qkv"]
    assert fill.shape == ((6 + 4) * K, D)
    turn = [(p.paths[0], p.first, p.shape[0] // K) for p in fill.pieces]
    assert turn[:3] == [("q", 0, 3), ("k", 0, 1), ("v", 0, 1)]
    assert turn[3:] == [("q", 3, 3), ("k", 1, 1), ("v", 1, 1)]
    assert [p.start for p in fill.pieces[1:]] == [p.stop for p in fill.pieces[:-1]]


def test_a_row_whose_parameters_are_not_in_the_model_is_skipped():
    table = Table(rows("w | w\n b | b"))
    assert list(table.fills({"w": (D,)})) == ["w"]
    with pytest.raises(ValueError, match="unexpected"):
        table.check({"w": (D,), "b": (D,)}, {"w": (D,)})


@pytest.mark.parametrize(
    ("text", "ours", "reason"),
    [
        ("a | p q", {}, "need a layout"),
        ("a | p | x y -> x", {}, "each letter once"),
        ("a | p q | (n x) y -> x y n", {}, "begins with 'n'"),
        ("a | p q | x -> x + y -> y + z -> z", {}, "3 terms for 2 paths"),
        ("a | p | 3 * ((x y) -> (x y))", {}, "cut no axis of ours"),
        ("a | p | 3 * (x -> x)", {"p": (5,)}, "cannot be cut into 3 along axis 0"),
        ("a | p | x -> y -> z", {}, "theirs -> ours"),
        ("a | p | x -> x | more", {}, "more than three columns"),
        ("a | p\n b | p", {"p": (D,)}, "filled by 'a' and by 'b'"),
        ("a | p\n a | q", {"p": (D,), "q": (D,)}, "two rows"),
        ("a | p q | (n x) -> n x", {"p": (D,)}, "the model has no q"),
        ("a | p | x y -> y x", {"p": (D,)}, "do not fit our shape"),
    ],
)
def test_a_table_that_is_wrong_says_where(text, ours, reason):
    with pytest.raises(ValueError, match=reason.replace("(", "\\(")):
        Table(rows(text)).fills(ours)


def test_a_size_that_does_not_follow_from_our_shapes_must_be_given():
    table = Table((Row("a", ("p",), "h k d -> (h k) d"),))
    with pytest.raises(ValueError, match="give the size of 'k'"):
        table.fills({"p": (H * K, D)})
    assert table.fills({"p": (H * K, D)}, {"k": K})["a"].shape == (H, K, D)


def test_the_variant_that_matches_most_names_of_a_file_reads_it():
    ours = {"query": (4, 4), "key": (4, 4), "norm": (4,)}
    split = Table(rows("q.weight | query\nk.weight | key\nnorm | norm"))
    fused = Table(rows("qk.weight | query key | (n e) d -> n e d\nnorm | norm"), variants=(split,))
    for names in ({"qk.weight": (8, 4)}, {"q.weight": (4, 4), "k.weight": (4, 4)}):
        report = fused.check({**names, "norm": (4,)}, ours)
        assert {fill.name for fill in report.fills} == {*names, "norm"}
    assert set(fused.fills(ours)) == {"qk.weight", "norm"}  # what export writes
    with pytest.raises(ValueError, match=r"missing \(1\):\n  k\.weight"):
        fused.check({"q.weight": (4, 4), "norm": (4,)}, ours)
    more = fused.with_rows(rows("more | more"))
    whole = {"q.weight": (4, 4), "k.weight": (4, 4), "norm": (4,), "more": (2,)}
    assert more.check(whole, {**ours, "more": (2,)}).ok
