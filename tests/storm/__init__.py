"""The fault harness: `make faults`. Streams images while parts are killed, stopped, cut off and replaced, then balances the books."""
