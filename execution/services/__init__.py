"""What may be done, one command a file, in the order of the life of a trade:

signal_accept     signals become intents, wait, end a trade, or are refused with a reason: in their order
signal_round      what many of them see is read once, and what becomes of them written once
intent_create     gates, reservation, order row: one transaction
order_queue       an approved intent becomes orders, as the exchange takes them
queue_acts        a hand on the queue: let in, force in, remove
approval_decide   a person's yes or no, once, in time
order_claim       what may go to the broker now, claimed together
order_submit      claim, send once, record what came back
order_update      broker news, from socket or book, in any order
order_adopt       an order that was not ours takes its place in a trade
outside_share     what such an order closed beyond that trade goes to the others that held it
fill_apply        one execution, once: order, position, ledger
fill_stand_in     one fill for trades that the book only counts, until they come
events_seal       the memory of orders, sealed in a chain
group_advance     what a trade needs next: protection, exit, end
group_exit        ask for the end of a trade
group_reopen      late news of a trade that was over
fill_bust         a trade that the exchange took back
mismatch_decide   what a person says of a difference with the broker
order_cancel      ask for a cancel; safe to repeat
order_change      carry out cancels and changes at the broker
square_off        out of intraday before the close
time_exit         the contract's last bar, and its time of day
stop_closer       a stop drawn nearer: by trailing, or in a drawdown
bar_exit          the contract's exit rule and trailing stop, at each bar's close
offset_run        winners pay for a loser: look, and write down what is to be done
offset_advance    the next step of such a plan, resumed or abandoned
offset_acts       what a person may do about it
part_withdraw     take back what has not traded of a part
loss_flatten      out of everything after a hard loss
kill_switch_pull  block, cancel, flatten
override          a hand on the desk
"""
