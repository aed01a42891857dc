"""Fields of the contract's editor, named by their path in the contract."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from trading.web.pages.strategies_form import CHOICES

register = template.Library()


@register.filter
def at(fields: Mapping[str, Any], path: str) -> Any:
    """What a form holds under a path, or nothing."""
    return fields.get(path, "")


@register.filter
def words_of(text: str) -> list[str]:
    return text.split()


@register.simple_tag(takes_context=True)
def field_error(context: Mapping[str, Any], path: str) -> SafeString:
    """What is wrong with one field, below it."""
    error = context.get("error")
    if error is None or not (error.path == path or error.path.startswith(f"{path}[")):
        return SafeString("")
    return format_html('<p class="down">{}</p>', error.message)


@register.simple_tag(takes_context=True)
def text_field(context: Mapping[str, Any], path: str, label: str) -> SafeString:
    return _input(context, path, label, "text")


@register.simple_tag(takes_context=True)
def number_field(context: Mapping[str, Any], path: str, label: str, kind_path: str = "") -> SafeString:
    """A number; where its kind is a price the text belongs to the rule beside it and is not shown here."""
    fields = context["fields"]
    shown = "" if kind_path and fields.get(kind_path) == "price" else fields.get(path, "")
    return _input(context, path, label, "decimal", shown)


@register.simple_tag(takes_context=True)
def choice_field(context: Mapping[str, Any], path: str, label: str) -> SafeString:
    chosen = str(context["fields"].get(path, ""))
    options = format_html_join(
        "", '<option value="{}"{}>{}</option>',
        ((value, SafeString(" selected") if str(value) == chosen else "", text) for value, text in CHOICES[path]),
    )  # fmt: skip
    return format_html(
        '<div class="field" id="f-{}"><label for="c-{}">{}</label><select id="c-{}" name="{}">{}</select>{}</div>',
        path, path, label, path, path, options, field_error(context, path),
    )  # fmt: skip


def _input(context: Mapping[str, Any], path: str, label: str, mode: str, value: Any = None) -> SafeString:
    shown = context["fields"].get(path, "") if value is None else value
    return format_html(
        '<div class="field" id="f-{}"><label for="c-{}">{}</label>'
        '<input id="c-{}" name="{}" value="{}" inputmode="{}">{}</div>',
        path, path, label, path, path, shown, mode, field_error(context, path),
    )  # fmt: skip
