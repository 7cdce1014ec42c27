"""The error that a user can mend."""


class UserError(Exception):
    """Something in the configuration, the data or the workdir that the user can put right.

    The message says what is wrong, where, and how to mend it; the command line prints it without a
    traceback.
    """
