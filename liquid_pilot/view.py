"""What the network of a policy is shown: its sensors and its set-points, and the observation that is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from liquid_pilot.errors import LiquidPilotError
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Attitude, Flow, FlowGrid, Position, PositionSetpoint, Range, Setpoint
from liquid_pilot.observation import OBS_DIM, POSITION_DIM, SIGHT_DIM, Held, assemble, assemble_position, has_position
from liquid_pilot.setpoints import SetpointHolder
from liquid_pilot.supervisor_limits import SupervisorLimits
from liquid_pilot.targets import TargetHolder

if TYPE_CHECKING:
    from liquid_pilot.bundle import Bundle
    from liquid_pilot.course_holder import CourseHolder
    from liquid_pilot.sight import Sight


class View:
    """Of one policy. memory: its sensors; setpoints: what it flies; sight: its flow grid, None where it has none.

    course_held: why it flies at speed zero, "" where it does not, or flies no courses.
    """

    def __init__(self, bundle: Bundle, setpoint_timeout_s: float | None) -> None:
        encoder = bundle.spec.encoder
        self.locates, self.sees = has_position(bundle.metadata.get("observation")), encoder is not None
        self.width = OBS_DIM + (POSITION_DIM if self.locates else 0)
        self.width += 0 if encoder is None else SIGHT_DIM + encoder.features
        self.memory = SensorMemory()
        limits = bundle.metadata.get("setpoint_limits", {})
        self.setpoints: SetpointHolder | TargetHolder | CourseHolder
        self.sight: Sight | None = None
        self.course_held = ""
        if encoder is not None:
            from liquid_pilot.course_holder import CourseHolder  # most policies are blind
            from liquid_pilot.sight import Sight

            self.sight, self.setpoints = Sight(encoder, bundle.weights), CourseHolder(limits, setpoint_timeout_s)
        else:
            self.setpoints = (TargetHolder if self.locates else SetpointHolder)(limits, setpoint_timeout_s)

    def reset(self) -> None:
        """Start of a flight."""
        self.memory.reset()
        self.setpoints.reset()
        self.course_held = ""
        if self.sight is not None:
            self.sight.reset()

    def start_clock(self, now_s: float, *, jumped: bool) -> None:
        """The IMU's clock starts, or has changed."""
        self.setpoints.restart_clock(now_s)
        if self.sight is not None:
            self.sight.start_clock(now_s, jumped=jumped)

    def uses(self, message: object) -> bool:
        """Whether the policy flies by such a message. To one that locates flow and range never speak."""
        if isinstance(message, FlowGrid):
            return self.sees
        return not (self.locates and isinstance(message, (Flow, Range)))

    def accept(
        self, message: Flow | Range | Position | Attitude | FlowGrid | Setpoint | PositionSetpoint
    ) -> tuple[LiquidPilotError | None, str | None]:
        """(why it was rejected, how a set-point was cut), each None where not."""
        if isinstance(message, (Setpoint, PositionSetpoint)):
            return self.setpoints.accept(message, self.memory.imu_t_s)
        if not isinstance(message, FlowGrid):
            return self.memory.accept(message), None
        return None if self.sight is None else self.sight.accept(message, self.memory), None

    def look(self, t_s: float, limits: SupervisorLimits) -> tuple[Held[float], tuple[float, ...]]:
        """The held messages at the IMU that was just accepted, and the observation that the network gets of them."""
        memory, setpoints = self.memory, self.setpoints
        if isinstance(setpoints, SetpointHolder):
            held = memory.take(setpoints.in_force(t_s))
            return held, assemble(held)
        if isinstance(setpoints, TargetHolder):
            held, located = setpoints.take(memory, t_s)
            return held, assemble(held) + assemble_position(located)
        assert self.sight is not None  # a course is flown by a policy that sees
        self.course_held = self.sight.why_held(memory, t_s, limits) if setpoints.given else ""
        held = setpoints.take(memory, t_s, held=bool(self.course_held))
        speed_m_s = 0.0 if self.course_held else setpoints.speed_m_s(t_s)
        return held, assemble(held) + self.sight.look(memory, t_s, speed_m_s, limits.grid_s)

    @property
    def heard(self) -> bool:
        """Whether all have been heard, on this clock, that it cannot fly without; a grid may come later."""
        memory = self.memory
        if self.locates:
            return memory.position_t_s is not None and memory.attitude_t_s is not None
        heading = not self.sees or memory.attitude_t_s is not None
        return heading and memory.flow_t_s is not None and memory.range_t_s is not None
