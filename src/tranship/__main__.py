"""`python -m tranship`."""

from tranship.cli import program

if __name__ == "__main__":
    program()
