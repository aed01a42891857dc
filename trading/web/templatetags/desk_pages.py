"""The rail of a page."""

from typing import Any

from django import template

from trading.web.navigation import Link, links

register = template.Library()


@register.simple_tag(takes_context=True)
def desk_links(context: dict[str, Any]) -> list[Link]:
    return links(context["request"])
