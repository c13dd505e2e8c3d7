"""Any Python value → valid JSON bytes, at the call; never raises and runs nobody's code.

``encoder`` is where to begin reading; what other parts of the SDK need most is named here.
"""

from sessionbat._encoding.encoder import Snapshot, encode_event, encode_value, is_plain

__all__ = ["Snapshot", "encode_event", "encode_value", "is_plain"]
