"""The pages in the rail, in the order of the rail. A phone shows the first five and keeps the rest under "More"."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Page:
    """`icon`: path data and shapes of a 20 × 20 stroke drawing. `key`: pressed after g. `staff`: for operators only."""

    label: str
    route: str
    icon: str
    key: str = ""
    staff: bool = False


ON_A_PHONE = 5
PAGES = (
    Page("Dashboard", "web:dashboard", '<path d="M3 3h6v8H3zM11 3h6v5h-6zM11 10h6v7h-6zM3 13h6v4H3z"/>', "d"),
    Page("Positions", "web:positions", '<path d="M3 15l4-5 3 3 7-8M12 5h5v5"/>', "p"),
    Page("Orders", "web:orders", '<path d="M4 5h12M4 10h12M4 15h8"/>', "o"),
    Page(
        "Signals",
        "web:signals",
        '<path d="M10 11v6M6.5 8.5a5 5 0 0 1 7 0M4 6a8.5 8.5 0 0 1 12 0"/><circle cx="10" cy="11" r="1.2"/>',
        "s",
    ),
    Page("Strategies", "web:strategies", '<path d="M4 16V9M8 16V4M12 16v-5M16 16V7"/>', "y"),
    Page("Backtests", "web:backtests", '<path d="M3 17V3M3 17h14M6 13l3-4 3 2 5-6"/><path d="M13 5h4v4"/>', "k"),
    Page("Engine", "web:engine-page", '<path d="M3 16h4v-4h4V8h4V4h2"/><path d="M3 6h5M3 9h3"/>', "e"),
    Page(
        "Risk",
        "web:risk",
        '<path d="M10 3l6 2.5V10c0 3.5-2.5 6-6 7-3.5-1-6-3.5-6-7V5.5z"/><path d="M10 7v4M10 13.2v.1"/>',
        "r",
    ),
    Page(
        "Market",
        "web:market",
        '<path d="M5 3v3M5 12v4M3 6h4v6H3zM15 4v4M15 14v3M13 8h4v6h-4zM10 2v2M10 10v4M8 4h4v6H8z"/>',
        "m",
    ),
    Page("Execution", "web:quality", '<circle cx="10" cy="11" r="6"/><path d="M10 11l3-3M10 3v2M7.5 2.5h5"/>', "x"),
    Page("Journal", "web:journal", '<path d="M5 3h10v14H5zM8 7h4M8 10h4"/>', "j"),
    Page("Reconcile", "web:reconcile", '<path d="M10 3v14M4 6h12M4 6l-2 5h4zM16 6l-2 5h4zM7 17h6"/>', "r"),
    Page(
        "Hooks",
        "web:hooks",
        '<path d="M11 4v7.5a3.5 3.5 0 1 1-7 0V10"/><path d="M2.5 11.5L4 10l1.5 1.5M11 8h5M14.5 6L16.5 8l-2 2"/>',
        "h",
    ),
    Page(
        "Settings",
        "web:settings",
        '<circle cx="10" cy="10" r="2.6"/><circle cx="10" cy="10" r="5.6"/>'
        '<path d="M10 2v2.4M10 15.6V18M2 10h2.4M15.6 10H18"/>',
    ),
    Page(
        "Console",
        "admin:index",
        '<path d="M3 5h8M15 5h2M3 10h2M9 10h8M3 15h9M16 15h1"/><circle cx="13" cy="5" r="1.7"/>'
        '<circle cx="7" cy="10" r="1.7"/><circle cx="14" cy="15" r="1.7"/>',
        staff=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A page as the rail of one request shows it."""

    page: Page
    url: str
    current: bool
    spare: bool  # under "More" on a phone


def links(request: HttpRequest) -> list[Link]:
    """What this person may go to, the page they are on marked: the longest address that theirs begins with."""
    shown = [page for page in PAGES if not page.staff or request.user.is_staff]  # type: ignore[union-attr]
    urls = [reverse(page.route) for page in shown]
    fits = [url for url in urls if request.path == url or (url != urls[0] and request.path.startswith(url))]
    here = max(fits, key=len, default=None)
    return [
        Link(page, url, url == here, place >= ON_A_PHONE)
        for place, (page, url) in enumerate(zip(shown, urls, strict=True))
    ]
