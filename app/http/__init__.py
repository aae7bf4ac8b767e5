"""The HTTP front end (Falcon, ASGI): resources, their access, and errors in one shape. No rules here."""
