"""The onboard program in simulated time: link, controller, loop and flight at the near end of a lock-step autopilot."""

from __future__ import annotations

from collections.abc import Callable

from envs.airframe import load_airframe
from envs.autopilot.autopilot import Autopilot
from envs.autopilot.channel import ChannelFaults
from envs.autopilot.lockstep import LockStep
from envs.autopilot.vehicle import Vehicle, on_the_floor
from envs.conditions import Conditions
from envs.faults import Fault
from liquid_pilot.bundle import Bundle
from liquid_pilot.controller import Controller
from liquid_pilot.links.link import LinkStatus
from liquid_pilot.links.mavlink import MavlinkLink
from liquid_pilot.links.throttle import Throttle
from liquid_pilot.logs import FlightLog
from liquid_pilot.messages import Setpoint
from liquid_pilot.runtime.flight import Flight, Plan
from liquid_pilot.runtime.loop import ControlLoop
from liquid_pilot.runtime.pilot import FlightPilot
from liquid_pilot.runtime.preflight import Facts


def autopilot_conditions(imu_hz: float = 400.0, faults: tuple[Fault, ...] = (), wind_m_s: float = 0.5) -> Conditions:
    """What a calibrated drone of this kind meets: its hover throttle is known to 10 %, its sensors are as drawn."""
    return Conditions(
        imu_hz=(imu_hz, imu_hz),
        imu_jitter=0.0,
        flow_hz=(50.0, 50.0),
        range_hz=(40.0, 40.0),
        command_latency_s=(0.0, 0.005),
        wind_m_s=(wind_m_s, wind_m_s),
        airframe_spread=0.05,
        faults=faults,
    )


def simulated_autopilot(airframe: str, conditions: Conditions, seed: int, battery: float = 0.9) -> Autopilot:
    """An autopilot on the floor. Close its vehicle after use."""
    return Autopilot(Vehicle(on_the_floor(load_airframe(airframe), conditions, seed), seed), battery=battery)


class Companion:
    """A policy that flies over a simulated link. Everything is there to be looked at.

    imu_hz: that the companion asks for.
    """

    def __init__(
        self,
        bundle: Bundle,
        autopilot: Autopilot,
        plan: Plan | None = None,
        *,
        channel: ChannelFaults | None = None,
        seed: int = 0,
        imu_hz: float = 400.0,
        log: FlightLog | None = None,
    ) -> None:
        self.bundle, self.imu_hz = bundle, imu_hz
        self.world = LockStep(autopilot, channel, seed)
        self.throttle = Throttle(1.0 / autopilot.vehicle.airframe.thrust_to_weight)
        self.link = MavlinkLink(self.world.transport, self.throttle, rates_hz={"imu": imu_hz})
        self.link.open(self.world.now_s)
        self.controller = Controller(bundle, log=log)
        self.loop: ControlLoop
        self.flight: Flight
        self.start(plan or Plan(Setpoint(0.0, (0.0, 0.0), 1.0, 0.0), imu_hz=imu_hz))

    def calibrate(self, autopilot: Autopilot) -> None:
        """The hover throttle of this drone."""
        self.throttle = self.link.throttle = Throttle(1.0 / autopilot.vehicle.airframe.thrust_to_weight)

    def start(self, plan: Plan) -> None:
        """A new flight on the same link."""
        self.controller.reset()
        pilot = FlightPilot(self.controller)
        self.loop = ControlLoop(self.link, pilot, clock=self.world.clock)
        facts = Facts(
            policy=self.bundle.name,
            selftest=0.0,  # `load_bundle` has just proved it
            trained_rates_hz=self.bundle.metadata.get("trained_rates_hz", {}),
            setpoint_limits=self.bundle.metadata.get("setpoint_limits", {}),
            link=LinkStatus(""),
            sensors={},
            rest=self.loop.watch.rest(),
            setpoint=plan.setpoint,
            hover_throttle=self.throttle.hover_throttle,
            log="",
            starts_on_floor=True,
        )
        self.flight = Flight(self.loop, pilot, plan, facts, self.world.now_s)

    def act(self) -> None:
        """One pass, as `liquid-pilot fly` makes it."""
        self.loop.run_once()
        self.flight.update(self.world.now_s)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> float:
        """Simulate until something is true, or for so many seconds; the seconds that went by."""
        begin_s = self.world.now_s
        until = until or (lambda: self.flight.done)
        while self.world.now_s - begin_s < seconds and not until():
            self.world.step(self.act)
        return self.world.now_s - begin_s
