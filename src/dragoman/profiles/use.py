"""What becomes of something that another server's configuration may say."""

from enum import Enum


class Use(Enum):
    """Of one key or flag."""

    HONOURED = "honoured"
    LATER = "not in this version"  #: whoever sets it is warned
    NOTHING = "without meaning here"  #: accepted, and told of in the log
