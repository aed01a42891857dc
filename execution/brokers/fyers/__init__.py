"""All that is FYERS-shaped: addresses, fields, transport, sockets, sign-in. Source: FYERS API v3."""
