"""The worker process: Dramatiq actors over the domain services. Thin; the work is in `app.services`."""
