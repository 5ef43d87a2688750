"""Rotations over `ops` scalars: quaternions wxyz, body -> world; matrices as three rows."""

from __future__ import annotations

from typing import Any, TypeAlias

from liquid_pilot.ops import Ops, S, Vec2, Vec3, Vec4

Matrix3: TypeAlias = tuple[Vec3[S], Vec3[S], Vec3[S]]


def rotation_matrix(q: Vec4[S]) -> Matrix3[S]:
    """Body -> world matrix of the unit quaternion q (wxyz)."""
    w, x, y, z = q
    x2, y2, z2 = x + x, y + y, z + z
    xx, yy, zz = x * x2, y * y2, z * z2
    xy, xz, yz = x * y2, x * z2, y * z2
    wx, wy, wz = w * x2, w * y2, w * z2
    return (
        (1.0 - (yy + zz), xy - wz, xz + wy),
        (xy + wz, 1.0 - (xx + zz), yz - wx),
        (xz - wy, yz + wx, 1.0 - (xx + yy)),
    )


def to_world(matrix: Matrix3[S], v: Vec3[S]) -> Vec3[S]:
    """Rotate a body vector into the world."""
    r0, r1, r2 = matrix
    return (
        r0[0] * v[0] + r0[1] * v[1] + r0[2] * v[2],
        r1[0] * v[0] + r1[1] * v[1] + r1[2] * v[2],
        r2[0] * v[0] + r2[1] * v[1] + r2[2] * v[2],
    )


def to_body(matrix: Matrix3[S], v: Vec3[S]) -> Vec3[S]:
    """Rotate a world vector into the body."""
    r0, r1, r2 = matrix
    return (
        r0[0] * v[0] + r1[0] * v[1] + r2[0] * v[2],
        r0[1] * v[0] + r1[1] * v[1] + r2[1] * v[2],
        r0[2] * v[0] + r1[2] * v[1] + r2[2] * v[2],
    )


def heading(ops: Ops, q: Vec4[S]) -> Vec2[S]:
    """Cosine and sine of the yaw of q: the direction of body x over ground, none where it points up or down."""
    w, x, y, z = q
    forward: Any = 1.0 - 2.0 * (y * y + z * z)
    left: Any = 2.0 * (w * z + x * y)
    length = ops.sqrt(ops.maximum(forward * forward + left * left, 1e-12))
    return forward / length, left / length


def multiply(a: Vec4[S], b: Vec4[S]) -> Vec4[S]:
    """Hamilton product a b (wxyz)."""
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def rotate_by_rates(ops: Ops, q: Vec4[S], rates_rad_s: Vec3[S], dt_s: S) -> Vec4[S]:
    """Attitude after dt at constant body rates: q exp(rates dt / 2), exact for constant rates."""
    half = 0.5 * dt_s
    hx, hy, hz = rates_rad_s[0] * half, rates_rad_s[1] * half, rates_rad_s[2] * half
    angle = ops.sqrt(hx * hx + hy * hy + hz * hz + 1e-16)
    scale = ops.sin(angle) / angle
    return multiply(q, (ops.cos(angle), hx * scale, hy * scale, hz * scale))
