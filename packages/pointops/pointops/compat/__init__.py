"""The functions of other point libraries under their own names and argument orders, on pointops.

Each module stands in for one library, so that only an import line changes:

    from pointops.compat import postech as pointops      # POSTECH's Point Transformer, MM-3DScene and their forks
    from pointops.compat import pointops2 as pointops    # Stratified Transformer and its forks
    from pointops.compat import pointnet2_utils          # VoteNet, H3DNet: functions on (B, N, 3)

or, for VoteNet's own pointnet2_utils unchanged, ``sys.modules["pointnet2._ext"] = pointops.compat.pointnet2_ext``.

Pointcept's ``pointops`` needs none: the names of ``pointops`` itself are Pointcept's.
"""
