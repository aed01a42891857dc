"""What a contract must say before it may be published."""

import json

import pytest

from strategies.contracts.schema import ContractError, load_contract, load_library, parse_contract
from strategies.contracts.words import sizing_in_words
from strategies.rules.nodes import text_of
from trading.domain.orders import Product, Side

EMA = load_library()["ema_alignment"]


def changed(**fields) -> dict:
    source = EMA.as_mapping()
    for path, value in fields.items():
        *groups, last = path.split("__")
        place = source
        for group in groups:
            place = place[group]
        place[last] = value
    return source


def test_the_library_contract_says_what_it_should():
    assert (EMA.name, EMA.timeframe_minutes, EMA.product) == ("EMA 9/21 with RSI filter", 5, Product.INTRADAY)
    assert EMA.sides == (Side.BUY, Side.SELL)
    long_rule, short_rule = EMA.entry_rule(Side.BUY), EMA.entry_rule(Side.SELL)
    assert long_rule is not None and short_rule is not None
    assert long_rule.warm_up == 49  # of the slowest average, which is known at its fiftieth bar
    assert EMA.bars_needed() > EMA.atr_period == 14


def test_a_contract_survives_json_and_keeps_its_hash():
    again = parse_contract(json.loads(EMA.canonical_json))
    assert again == EMA
    assert again.content_hash == EMA.content_hash and len(EMA.content_hash) == 64


def test_the_hash_is_of_the_meaning_not_the_spelling():
    shuffled = dict(reversed(EMA.as_mapping().items())) | {"stop": {"period": 14, "value": "1.50", "kind": "atr"}}
    assert parse_contract(shuffled).content_hash == EMA.content_hash
    assert parse_contract(changed(stop__value=1.6)).content_hash != EMA.content_hash


def test_a_deployment_tunes_parameters_within_their_ranges():
    assert EMA.parameters_with({"fast": 5})["fast"] == 5
    assert text_of(EMA.entry_rule(Side.BUY, {"fast": 5}).node).startswith(
        "crosses_above(ema(close, 5), ema(close, 21) * 1.0003)"
    )
    for overrides, code in (
        ({"fast": 2}, "OUT_OF_RANGE"),
        ({"quick": 5}, "UNKNOWN_PARAMETER"),
        ({"fast": True}, "WRONG_TYPE"),
    ):
        with pytest.raises(ContractError) as refusal:
            EMA.parameters_with(overrides)
        assert refusal.value.code == code


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"when_it_loses": None}, "MISSING", "when_it_loses"),
        ({"when_it_loses": "never"}, "WRONG_LENGTH", "when_it_loses"),
        ({"stopp": {}}, "UNKNOWN_FIELD", "stopp"),
        ({"family": "crypto"}, "UNKNOWN_CHOICE", "family"),
        ({"timeframe": "7m"}, "UNKNOWN_CHOICE", "timeframe"),
        ({"timeframe": "1d"}, "CONTRADICTION", "timeframe"),
        ({"holding": "multi_day"}, "CONTRADICTION", "product"),
        ({"product": "CNC"}, "CONTRADICTION", "product"),
        ({"product": "CNC", "holding": "multi_day"}, "CONTRADICTION", "sides"),
        ({"sides": []}, "WRONG_TYPE", "sides"),
        ({"sides": ["long", "sideways"]}, "UNKNOWN_CHOICE", "sides[1]"),
        ({"sides": ["long"]}, "CONTRADICTION", "rules.short_entry"),
        ({"universes": "nifty50"}, "WRONG_TYPE", "universes"),
        ({"universes": ["NIFTY 50"]}, "WRONG_TYPE", "universes[0]"),
        ({"rules": {"long_entry": "close > 1"}}, "MISSING", "rules.short_entry"),
        ({"rules__long_entry": "clsoe > 1"}, "RULE_UNKNOWN_NAME", "rules.long_entry"),
        ({"rules__long_entry": "close"}, "RULE_WRONG_KIND", "rules.long_entry"),
        ({"parameters__fast__min": 0}, "RULE_OUT_OF_RANGE", "rules.long_entry"),
        ({"parameters__fast__default": 99}, "OUT_OF_RANGE", "parameters.fast"),
        ({"parameters__fast": {"default": 9}}, "MISSING", "parameters.fast.max"),
        ({"parameters__close": {"default": 9, "min": 1, "max": 9}}, "RULE_PARAMETER_NAME", "rules.long_entry"),
        ({"stop__kind": "hope"}, "UNKNOWN_CHOICE", "stop.kind"),
        ({"stop__value": 0}, "OUT_OF_RANGE", "stop.value"),
        ({"stop__value": True}, "WRONG_TYPE", "stop.value"),
        ({"stop__value": "NaN"}, "OUT_OF_RANGE", "stop.value"),
        ({"stop__period": 2.5}, "OUT_OF_RANGE", "stop.period"),
        ({"stop": {"kind": "percent", "value": 1, "period": 14}}, "CONTRADICTION", "stop.period"),
        ({"stop": {"kind": "price", "value": "close > 1"}}, "RULE_WRONG_KIND", "stop.value"),
        ({"target": {"kind": "atr", "value": 2, "period": 20}}, "CONTRADICTION", "target.period"),
        ({"sizing": {"kind": "fixed_quantity", "value": 1.5}}, "OUT_OF_RANGE", "sizing.value"),
        ({"sizing__value": 50}, "OUT_OF_RANGE", "sizing.value"),
        ({"max_bars": 0}, "OUT_OF_RANGE", "max_bars"),
        ({"name": 5}, "WRONG_TYPE", "name"),
    ],
)  # fmt: skip
def test_a_contract_is_refused_at_its_field(fields, code, path):
    with pytest.raises(ContractError) as refusal:
        parse_contract(changed(**fields))
    assert (refusal.value.code, refusal.value.path) == (code, path)


@pytest.mark.parametrize("nonsense", [None, [], "text", 5])
def test_what_is_not_a_mapping_is_no_contract(nonsense):
    with pytest.raises(ContractError, match="named fields"):
        parse_contract(nonsense)


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    with pytest.raises(ContractError) as refusal:
        load_contract(broken)
    assert (refusal.value.code, refusal.value.path) == ("NOT_YAML", "broken.yaml")


@pytest.mark.parametrize(
    ("sizing", "words"),
    [
        ({"kind": "fixed_rupees", "value": "50000"}, "₹50,000.00 bought"),
        ({"kind": "volatility_target", "value": 15}, "as much as moves by 15 % of equity a year, by 60 days"),
        ({"kind": "kelly", "value": 25, "win_rate": "0.6", "payoff": 1},
         "25 % of Kelly at odds 0.6 and 1: 5.0000 % of equity lost at the stop"),
    ],
)  # fmt: skip
def test_every_way_of_sizing_survives_json_and_has_words(sizing, words):
    body = parse_contract(changed(sizing=sizing))
    assert parse_contract(json.loads(body.canonical_json)) == body
    assert sizing_in_words(body) == words
    rule = body.size_rule()
    assert (rule is None) == (sizing["kind"] != "volatility_target")
    if rule is not None:
        assert [(need.timeframe, need.bars) for need in body.rule_set().needs] == [(1440, 61)]


@pytest.mark.parametrize(
    ("sizing", "code", "path"),
    [
        ({"kind": "kelly", "value": 26, "win_rate": "0.6", "payoff": 1}, "OUT_OF_RANGE", "sizing.value"),
        ({"kind": "kelly", "value": 25, "win_rate": "0.6"}, "MISSING", "sizing.payoff"),
        ({"kind": "kelly", "value": 25, "win_rate": "0.4", "payoff": 1}, "CONTRADICTION", "sizing.win_rate"),
        ({"kind": "percent_equity", "value": 20, "period": 60}, "CONTRADICTION", "sizing.period"),
        ({"kind": "volatility_target", "value": 15, "period": 5}, "OUT_OF_RANGE", "sizing.period"),
    ],
)  # fmt: skip
def test_a_size_that_cannot_be_reckoned_is_refused(sizing, code, path):
    with pytest.raises(ContractError) as refusal:
        parse_contract(changed(sizing=sizing))
    assert (refusal.value.code, refusal.value.path) == (code, path)
