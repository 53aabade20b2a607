"""The one exception for mistakes that a person can mend."""


class InputError(ValueError):
    """What a person gave cannot be used.

    The message is one sentence that says what is wrong, where (file, row, key), and how to mend it. Command lines
    print it without a traceback and exit with a non-zero status.
    """
