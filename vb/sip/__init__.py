"""SIP: messages, transactions, dialogs and calls as plain computation; `vb.sip.tasks` runs them."""
