"""What the type checker may know of Triton: its two functions for the host are typed, its kernel language is not.

Triton's own annotations differ from release to release (``cdiv`` returns ``int`` in 3.9, ``constexpr`` in 3.7; a
kernel function that calls another is ``NoReturn``), so what ``make types`` says would depend on the release installed.
"""

from typing import Any

__version__: str
__file__: str

def cdiv(x: int, y: int) -> int: ...
def next_power_of_2(n: int) -> int: ...
def __getattr__(name: str) -> Any: ...
