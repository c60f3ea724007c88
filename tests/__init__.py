"""The tests mirror the rooms; `support` holds their peers."""
