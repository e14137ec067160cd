"""Everything in one go: worker, events and web server as processes that one process watches over."""
