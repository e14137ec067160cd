"""`python -m stream_app` does what the command `stream-app` does."""

from stream_app.cli import main

if __name__ == "__main__":
    main()
