"""What the sandbox lists: the NIFTY 50 names, two indices, and a fund on each of them.

Tokens, ISINs, names and sectors are the exchange's own. Base prices, volumes and index weights are round
figures of a plausible size; the simulated market moves around them.
"""

from __future__ import annotations

from dataclasses import dataclass

TICK_BANDS_PAISE = ((25_000, 1), (100_000, 5), (500_000, 10), (1_000_000, 50), (2_000_000, 100))


def tick_paise_for(price_paise: int) -> int:
    """Tick of a share by its price. Source: NSE tick bands since 2025-04-15 (a price on the edge belongs above)."""
    for below, tick in TICK_BANDS_PAISE:
        if price_paise < below:
            return tick
    return 500


@dataclass(frozen=True)
class Listing:
    """One name on the board. Prices in paise; `weight` is its share of the NIFTY 50 in percent; `tracks`: the symbol of
    the index that a fund holds."""

    symbol: str
    name: str
    exchange_token: int
    isin: str
    sector: str
    base_paise: int
    tick_paise: int
    day_volume: int
    weight: float
    is_index: bool = False
    index_name: str = ""
    tracks: str = ""

    @property
    def short_name(self) -> str:
        """`RELIANCE` of `NSE:RELIANCE-EQ`."""
        return self.symbol.split(":", 1)[1].rsplit("-", 1)[0]

    @property
    def fy_token(self) -> str:
        """Exchange, segment, no expiry, exchange token."""
        return f"1010000000{self.exchange_token}"

    @property
    def instrument(self) -> int:
        return 10 if self.is_index else 9 if self.tracks else 0

    @property
    def is_derived(self) -> bool:
        """Whether its price follows from those of the shares."""
        return self.is_index or bool(self.tracks)


def _share(
    name: str, title: str, token: int, isin: str, sector: str, rupees: int, lakh: float, weight: float
) -> Listing:
    price = rupees * 100
    return Listing(
        f"NSE:{name}-EQ", title, token, isin, sector, price, tick_paise_for(price), int(lakh * 100_000), weight
    )


FIN, IT, OIL, AUTO, FMCG = (
    "Financial Services",
    "Information Technology",
    "Oil Gas & Consumable Fuels",
    "Automobile",
    "FMCG",
)
PHARMA, METAL, POWER, CEMENT = "Healthcare", "Metals & Mining", "Power", "Construction Materials"

NIFTY50: tuple[Listing, ...] = (
    _share("ADANIENT", "ADANI ENTERPRISES LIMITED", 25, "INE423A01024", METAL, 2480, 9, 0.6),
    _share("ADANIPORTS", "ADANI PORT & SEZ LTD", 15083, "INE742F01042", "Services", 1420, 20, 0.9),
    _share("APOLLOHOSP", "APOLLO HOSPITALS ENTER. L", 157, "INE437A01024", PHARMA, 7450, 4, 0.7),
    _share("ASIANPAINT", "ASIAN PAINTS LIMITED", 236, "INE021A01026", "Consumer Durables", 2380, 9, 1.0),
    _share("AXISBANK", "AXIS BANK LIMITED", 5900, "INE238A01034", FIN, 1160, 80, 3.0),
    _share("BAJAJ-AUTO", "BAJAJ AUTO LIMITED", 16669, "INE917I01010", AUTO, 8750, 3, 0.9),
    _share("BAJAJFINSV", "BAJAJ FINSERV LTD.", 16675, "INE918I01026", FIN, 2030, 11, 1.0),
    _share("BAJFINANCE", "BAJAJ FINANCE LIMITED", 317, "INE296A01032", FIN, 975, 70, 2.3),
    _share("BEL", "BHARAT ELECTRONICS LTD", 383, "INE263A01024", "Capital Goods", 405, 140, 1.3),
    _share("BHARTIARTL", "BHARTI AIRTEL LIMITED", 10604, "INE397D01024", "Telecommunication", 1920, 60, 4.5),
    _share("CIPLA", "CIPLA LTD", 694, "INE059A01026", PHARMA, 1510, 12, 0.7),
    _share("COALINDIA", "COAL INDIA LTD", 20374, "INE522F01014", OIL, 388, 60, 0.8),
    _share("DRREDDY", "DR. REDDY S LABORATORIES", 881, "INE089A01031", PHARMA, 1240, 22, 0.7),
    _share("EICHERMOT", "EICHER MOTORS LTD", 910, "INE066A01021", AUTO, 6950, 4, 0.8),
    _share("ETERNAL", "ETERNAL LIMITED", 5097, "INE758T01015", "Consumer Services", 320, 250, 1.9),
    _share("GRASIM", "GRASIM INDUSTRIES LTD", 1232, "INE047A01021", CEMENT, 2780, 6, 0.9),
    _share("HCLTECH", "HCL TECHNOLOGIES LTD", 7229, "INE860A01027", IT, 1450, 27, 1.3),
    _share("HDFCBANK", "HDFC BANK LTD", 1333, "INE040A01034", FIN, 965, 250, 12.8),
    _share("HDFCLIFE", "HDFC LIFE INS CO LTD", 467, "INE795G01014", FIN, 755, 30, 0.7),
    _share("HINDALCO", "HINDALCO INDUSTRIES LTD", 1363, "INE038A01020", METAL, 765, 50, 1.0),
    _share("HINDUNILVR", "HINDUSTAN UNILEVER LTD.", 1394, "INE030A01027", FMCG, 2480, 15, 1.9),
    _share("ICICIBANK", "ICICI BANK LTD.", 4963, "INE090A01021", FIN, 1360, 130, 8.5),
    _share("INDIGO", "INTERGLOBE AVIATION LTD", 11195, "INE646L01027", "Services", 5650, 7, 1.0),
    _share("INFY", "INFOSYS LIMITED", 1594, "INE009A01021", IT, 1470, 75, 4.6),
    _share("ITC", "ITC LTD", 1660, "INE154A01025", FMCG, 405, 110, 3.3),
    _share("JIOFIN", "JIO FIN SERVICES LTD", 18143, "INE758E01017", FIN, 300, 120, 0.8),
    _share("JSWSTEEL", "JSW STEEL LIMITED", 11723, "INE019A01038", METAL, 1150, 22, 0.9),
    _share("KOTAKBANK", "KOTAK MAHINDRA BANK LTD", 1922, "INE237A01028", FIN, 2060, 40, 2.7),
    _share("LT", "LARSEN & TOUBRO LTD.", 11483, "INE018A01030", "Construction", 3820, 17, 3.9),
    _share("M&M", "MAHINDRA & MAHINDRA LTD", 2031, "INE101A01026", AUTO, 3520, 24, 2.7),
    _share("MARUTI", "MARUTI SUZUKI INDIA LTD.", 10999, "INE585B01010", AUTO, 15800, 4, 1.8),
    _share("MAXHEALTH", "MAX HEALTHCARE INS LTD", 22377, "INE027H01010", PHARMA, 1130, 16, 0.7),
    _share("NESTLEIND", "NESTLE INDIA LIMITED", 17963, "INE239A01024", FMCG, 1210, 12, 0.7),
    _share("NTPC", "NTPC LTD", 11630, "INE733E01010", POWER, 338, 90, 1.4),
    _share("ONGC", "OIL AND NATURAL GAS CORP.", 2475, "INE213A01029", OIL, 243, 90, 0.8),
    _share("POWERGRID", "POWER GRID CORP. LTD.", 14977, "INE752E01010", POWER, 283, 110, 1.1),
    _share("RELIANCE", "RELIANCE INDUSTRIES LTD", 2885, "INE002A01018", OIL, 1400, 110, 8.3),
    _share("SBILIFE", "SBI LIFE INSURANCE CO LTD", 21808, "INE123W01016", FIN, 1860, 11, 0.7),
    _share("SBIN", "STATE BANK OF INDIA", 3045, "INE062A01020", FIN, 885, 110, 3.2),
    _share("SHRIRAMFIN", "SHRIRAM FINANCE LIMITED", 4306, "INE721A01047", FIN, 680, 55, 0.9),
    _share("SUNPHARMA", "SUN PHARMACEUTICAL IND L", 3351, "INE044A01036", PHARMA, 1640, 20, 1.5),
    _share("TATACONSUM", "TATA CONSUMER PRODUCT LTD", 3432, "INE192A01025", FMCG, 1140, 12, 0.6),
    _share("TATASTEEL", "TATA STEEL LIMITED", 3499, "INE081A01020", METAL, 174, 260, 1.2),
    _share("TCS", "TATA CONSULTANCY SERV LT", 11536, "INE467B01029", IT, 2980, 22, 2.6),
    _share("TECHM", "TECH MAHINDRA LIMITED", 13538, "INE669C01036", IT, 1430, 18, 0.8),
    _share("TITAN", "TITAN COMPANY LIMITED", 3506, "INE280A01028", "Consumer Durables", 3580, 11, 1.3),
    _share("TMPV", "TATA MOTORS PASS VEH LTD", 3456, "INE155A01022", AUTO, 405, 120, 0.7),
    _share("TRENT", "TRENT LTD", 1964, "INE849A01020", "Consumer Services", 4620, 8, 0.9),
    _share("ULTRACEMCO", "ULTRATECH CEMENT LIMITED", 11532, "INE481G01011", CEMENT, 12100, 3, 1.3),
    _share("WIPRO", "WIPRO LTD", 3787, "INE075A01022", IT, 243, 90, 0.6),
)


def _index(name: str, title: str, token: int, wire_name: str, level: int) -> Listing:
    return Listing(f"NSE:{name}-INDEX", title, token, "", "Index", level * 100, 5, 0, 0.0, True, wire_name)


NIFTY = _index("NIFTY50", "NIFTY50-INDEX", 26000, "Nifty 50", 25_900)
BANK_NIFTY = _index("NIFTYBANK", "NIFTYBANK-INDEX", 26009, "Nifty Bank", 58_500)
INDICES: tuple[Listing, ...] = (NIFTY, BANK_NIFTY)
ETFS: tuple[Listing, ...] = (
    Listing(
        "NSE:NIFTYBEES-EQ", "NIP IND ETF NIFTY BEES", 10576, "INF204KB14I2", "Index funds", 29_000, 1, 6_000_000, 0.0,
        tracks=NIFTY.symbol,
    ),
    Listing(
        "NSE:BANKBEES-EQ", "NIP IND ETF BANK BEES", 11439, "INF204KB15I9", "Index funds", 60_000, 1, 1_200_000, 0.0,
        tracks=BANK_NIFTY.symbol,
    ),
)  # fmt: skip
BANKS = frozenset({"AXISBANK", "HDFCBANK", "ICICIBANK", "KOTAKBANK", "SBIN"})
UNDERLYING_OF_INDEX = {"NIFTY50": "NIFTY", "NIFTYBANK": "BANKNIFTY"}


def members_of(index: Listing) -> tuple[Listing, ...]:
    """The shares an index is the weighted sum of; for the bank index the banks that are listed here."""
    if index.short_name == "NIFTYBANK":
        return tuple(share for share in NIFTY50 if share.short_name in BANKS)
    return NIFTY50
