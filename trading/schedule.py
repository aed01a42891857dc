"""The timetable that beat reads. Every job takes what is due by itself: two beats, or a late one, do no harm."""

from celery.schedules import crontab

BEAT_SCHEDULE = {
    # A bar close is rung by the engine at once; this finds it when the bell was lost.
    "scan": {"task": "strategies.scan_due", "schedule": 1.0, "options": {"expires": 5}},
    # The polling half of fill monitoring, beside the order socket and the engine's own reading.
    "fills": {"task": "execution.poll_fills", "schedule": 5.0, "options": {"expires": 10}},
    "tokens": {"task": "execution.watch_tokens", "schedule": 30.0, "options": {"expires": 30}},
    # Brokers publish the day's masters before eight; the exchange opens its books at nine.
    "instruments": {
        "task": "execution.refresh_instruments", "schedule": crontab(hour=8, minute=5), "options": {"expires": 3600},
    },
    "sign-ins": {"task": "execution.check_sign_ins", "schedule": 300.0, "options": {"expires": 120}},
    "roads": {"task": "execution.check_roads", "schedule": 300.0, "options": {"expires": 120}},
    "sign-in-reminder": {"task": "execution.remind_of_sign_in", "schedule": 300.0, "options": {"expires": 120}},
    "chains": {"task": "execution.snapshot_chains", "schedule": 60.0, "options": {"expires": 50}},
    "room": {"task": "execution.recount_room", "schedule": 60.0, "options": {"expires": 60}},
    "strategies": {"task": "execution.watch_strategies", "schedule": 15.0, "options": {"expires": 15}},
    "risk": {"task": "execution.keep_risk", "schedule": 5.0, "options": {"expires": 5}},
    "spikes": {"task": "marketdata.mark_spikes", "schedule": 60.0, "options": {"expires": 50}},
    # After the post-close session: what today's candles are worth.
    "quality": {
        "task": "marketdata.check_quality", "schedule": crontab(hour=16, minute=20), "options": {"expires": 3600},
    },
    # No order waits for its seal; the walk over all of them is for the night.
    "seals": {"task": "execution.seal_events", "schedule": 300.0, "options": {"expires": 300}},
    "seals walked": {
        "task": "execution.verify_events", "schedule": crontab(hour=2, minute=40), "options": {"expires": 3600},
    },
    "heartbeats": {"task": "execution.watch_heartbeats", "schedule": 5.0, "options": {"expires": 10}},
    # A run is rung for when it is asked; this finds those whose bell, or whose worker, was lost.
    "research": {"task": "research.work", "schedule": 3.0, "options": {"expires": 3}},
    # The exchange publishes its daily files by half past six; the second ring is for a desk that was off at the first.
    "day end": {"task": "backfill.day_end", "schedule": crontab(hour="19,22", minute=10), "options": {"expires": 3600}},
    # A backfill is rung for when it is asked for; this finds those whose bell, or whose worker, was lost.
    "backfills": {"task": "backfill.work", "schedule": 20.0, "options": {"expires": 20}},
    "old deliveries": {
        "task": "execution.forget_deliveries", "schedule": crontab(hour=3, minute=40), "options": {"expires": 7200},
    },
    "old runs": {"task": "research.tidy", "schedule": 3600.0, "options": {"expires": 3600}},
}  # fmt: skip
