"""One flight from the first heartbeat to the last: a small state machine over the control loop.

    CONNECTING  no autopilot is heard yet
    PREFLIGHT   the list of checks, again and again, until it passes or time is up
    ENGAGING    set-points stream (thrust zero), then offboard mode and arming are asked for
    TAKEOFF     the leveller climbs to where flow and range see
    FLYING      the policy flies (or the supervisor's leveller)
    SINKING     told to land: the policy, which holds its place, goes to the lowest height that it was trained for
    LANDING     the supervisor lands; the last centimetres may be the autopilot's
    DONE        with `outcome` and `reason`

By hand (`arms=False`) nothing is asked of the autopilot: the policy's commands stream, the pilot arms, takes off and
switches to offboard when he likes, and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from liquid_pilot.errors import LinkError, LiquidPilotError
from liquid_pilot.links.link import LinkStatus, Request
from liquid_pilot.messages import Setpoint
from liquid_pilot.runtime.loop import ControlLoop
from liquid_pilot.runtime.pilot import FlightPilot
from liquid_pilot.runtime.preflight import Check, Facts, preflight
from liquid_pilot.runtime.takeoff import Phase
from liquid_pilot.supervisor import Condition, State

SETTLE_S: Final = 1.0  # the checks look for at least so long
PROOF_S: Final = 1.2  # set-points stream for so long before offboard mode is asked for
ASK_S: Final = 0.5  # between requests
ENGAGE_S: Final = 8.0
LAND_S: Final = 60.0
SINK_S: Final = 5.0  # longest
SUNK_M: Final = 0.1  # above the lowest height
BLIND_M: Final = 0.25  # a last return below this, and then none: the floor is too near for the range
BLIND_S: Final = 1.0
HEARTBEAT_S: Final = 1.5  # so late a heartbeat may tell that the motors are armed
LOST_S: Final = 3.0  # a link that is silent for so long ends the flight here; the autopilot has acted long before
UPDATE_S: Final = 0.05
REHEARSE_S: Final = 3.0  # a dry run goes on after so long, whatever did not pass
SENSORS_S: Final = 2.0  # between requests for streams that are too slow


class Stage(Enum):
    """See the module."""

    CONNECTING = "connecting"
    PREFLIGHT = "preflight"
    ENGAGING = "engaging"
    TAKEOFF = "take-off"
    FLYING = "flying"
    SINKING = "sinking"
    LANDING = "landing"
    DONE = "done"


class Outcome(Enum):
    """How it ended."""

    LANDED = "landed"
    REHEARSED = "rehearsed"  # a dry run
    CANCELLED = "cancelled"  # before anything turned
    REFUSED = "refused"  # the checks did not pass, or the autopilot did not arm
    LOST = "lost"  # link lost, take-off given up, motors killed, or somebody else took over


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. duration_s: of flying, infinite = until told. patience_s: for an autopilot, and for the checks."""

    setpoint: Setpoint
    duration_s: float = math.inf
    arms: bool = True
    dry: bool = False
    patience_s: float = 20.0
    imu_hz: float = 200.0


class Flight:
    """Call `update` after every pass of the loop. facts: what only the caller knows; the rest is filled in here."""

    def __init__(self, loop: ControlLoop, pilot: FlightPilot, plan: Plan, facts: Facts, now_s: float) -> None:
        self.loop, self.pilot, self.plan = loop, pilot, plan
        self.stage, self.reason = Stage.CONNECTING, ""
        self.outcome: Outcome | None = None
        self.checks: list[Check] = []
        self.link: LinkStatus = loop.link.status(now_s)
        self._facts = facts
        self._entered_s = self._started_s = now_s
        self._updated_s = self._asked_s = self._streams_s = -math.inf
        self._stop = self._kill = False
        self._kill_s = math.inf  # since when the motors are to stop
        self._arming_s = -math.inf  # newest request to arm
        self._lands_itself = False  # the autopilot was seen in its landing mode
        loop.sends = not plan.dry

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self.stage is Stage.DONE

    def land(self) -> None:
        """The operator wants it down; before the take-off this cancels it."""
        self._stop = True

    def kill(self) -> None:
        """The operator wants the motors off, wherever it is."""
        self._kill = True

    def since_s(self, now_s: float) -> float:
        """Seconds in the present stage."""
        return now_s - self._entered_s

    def update(self, now_s: float) -> None:
        """Look, decide, ask. Cheap when called too often. Raises `LinkError` when the port is gone."""
        if self.done or 0.0 <= now_s - self._updated_s < UPDATE_S:
            return
        self._updated_s = now_s
        self.link = self.loop.link.status(now_s)
        if self._kill:
            self._kill_now(now_s)
            return
        if self._stop and self.stage not in (Stage.FLYING, Stage.SINKING, Stage.LANDING, Stage.TAKEOFF):
            self._cancel(now_s)
            return
        self._keep_streams(now_s)
        {
            Stage.CONNECTING: self._connecting,
            Stage.PREFLIGHT: self._preflight,
            Stage.ENGAGING: self._engaging,
            Stage.TAKEOFF: self._taking_off,
            Stage.FLYING: self._flying,
            Stage.SINKING: self._sinking,
            Stage.LANDING: self._landing,
        }[self.stage](now_s)

    def lose(self, reason: str) -> None:
        """The port is gone: nothing can be asked any more."""
        self._end(Outcome.LOST, reason)

    def _enter(self, stage: Stage, now_s: float) -> None:
        self.stage, self._entered_s, self._asked_s = stage, now_s, -math.inf

    def _end(self, outcome: Outcome, reason: str) -> None:
        self.stage, self.outcome, self.reason = Stage.DONE, outcome, reason
        self.loop.idles = False

    def _ask(self, what: Request, now_s: float) -> None:
        """Ask at most every `ASK_S`; a dry run asks for nothing but sensors."""
        if self.plan.dry or not self.plan.arms or now_s - self._asked_s < ASK_S:
            return
        self._asked_s = now_s
        if what is Request.ARM:
            self._arming_s = now_s
        try:
            self.loop.link.request(what, now_s)
        except LinkError:
            raise  # the port is gone, which is no answer
        except LiquidPilotError as error:
            self._end(Outcome.REFUSED, str(error))

    def _may_be_armed(self, now_s: float) -> bool:
        """Whether the motors are armed, or were asked to be too lately for a heartbeat to have told."""
        return bool(self.link.armed) or now_s - self._arming_s < HEARTBEAT_S

    def _keep_streams(self, now_s: float) -> None:
        """Sensor rates are asked for until they come, and again after the autopilot has started anew."""
        slow = self.loop.watch.sensors["imu"].state(now_s).rate_hz < 0.5 * self.plan.imu_hz
        if slow and self.link.alive and now_s - self._streams_s > SENSORS_S:
            self._streams_s = now_s
            self.loop.link.request(Request.SENSORS, now_s)

    def _connecting(self, now_s: float) -> None:
        if self.link.alive:
            self._enter(Stage.PREFLIGHT, now_s)
        elif now_s - self._started_s > self.plan.patience_s:
            self._end(
                Outcome.REFUSED,
                f"no autopilot was heard on {self.link.address} for {self.plan.patience_s:g} s; check the cable, the "
                "address, the speed, and that the autopilot sends MAVLink there",
            )

    def _preflight(self, now_s: float) -> None:
        watch = self.loop.watch
        sensors = {name: one.state(now_s) for name, one in watch.sensors.items()}
        facts = replace(
            self._facts,
            link=self.link,
            sensors=sensors,
            rest=watch.rest(),
            setpoint=self.plan.setpoint,
            log=self.pilot.log_problem,
            starts_on_floor=self.plan.arms,
        )
        self.checks = preflight(facts)
        failed = [check for check in self.checks if not check.passed]
        if self.since_s(now_s) < SETTLE_S:
            return
        rehearsed = self.plan.dry and self.since_s(now_s) > REHEARSE_S
        if not failed or rehearsed:
            if self.link.armed and self.plan.arms and not self.plan.dry:
                self._end(Outcome.REFUSED, "the motors are armed already; disarm, or fly with --no-arm")
                return
            self._enter(Stage.FLYING if self.plan.dry else Stage.ENGAGING, now_s)
            if self.plan.dry or not self.plan.arms:
                self._hand_over(now_s)
        elif self.since_s(now_s) > self.plan.patience_s:
            self._end(Outcome.REFUSED, "; ".join(f"{check.name}: {check.found}: {check.fix}" for check in failed))

    def _engaging(self, now_s: float) -> None:
        link = self.link
        if self._lost(now_s):
            return
        if not self.plan.arms:
            if link.offboard and link.armed:
                self._enter(Stage.FLYING, now_s)
            elif self.pilot.state is State.KILLED:  # in the air, its commands would let the drone fall
                self._end(Outcome.LOST, "the supervisor is KILLED and stays so; start again")
            return
        self.loop.idles = True
        if link.offboard and link.armed:
            self.loop.idles = False
            self.pilot.takeoff.begin()
            self._enter(Stage.TAKEOFF, now_s)
        elif self.since_s(now_s) > ENGAGE_S:
            if self._may_be_armed(now_s) and self.since_s(now_s) < 2.0 * ENGAGE_S:
                self._ask(Request.DISARM, now_s)
                return
            self._end(Outcome.REFUSED, f"the autopilot does not arm in offboard mode: {link.said or 'it does not say'}")
        elif self.since_s(now_s) > PROOF_S:
            self._ask(Request.ARM if link.offboard else Request.OFFBOARD, now_s)

    def _taking_off(self, now_s: float) -> None:
        if self._lost(now_s) or self._taken_away(now_s):
            return
        takeoff = self.pilot.takeoff
        if takeoff.phase is Phase.ABORTED or self._stop:
            self.loop.sends = False
            if takeoff.phase is Phase.ABORTED:
                self.reason = f"the take-off was given up: {takeoff.reason}"
            self._enter(Stage.LANDING, now_s)
        elif self.pilot.may_take_over:
            self._hand_over(now_s)
            self._enter(Stage.FLYING, now_s)

    def _hand_over(self, now_s: float) -> None:
        self.loop.set(replace(self.plan.setpoint, t_s=now_s))

    def _flying(self, now_s: float) -> None:
        if self.plan.dry:
            if self._stop or self.since_s(now_s) > self.plan.duration_s:
                self._end(Outcome.REHEARSED, "nothing was commanded")
            return
        if self._lost(now_s) or self._killed(now_s):
            return
        if not self.plan.arms and not self.link.offboard:
            if self._stop:
                self._end(Outcome.CANCELLED, "told to stop while the pilot flies")
            else:
                self._enter(Stage.ENGAGING, now_s)
        elif self._taken_away(now_s):
            return
        elif self._is_coming_down():
            self._let_down(now_s)
        elif self._stop or self.since_s(now_s) > self.plan.duration_s:
            self.loop.set(Setpoint(now_s, (0.0, 0.0), self._lowest_m, 0.0))
            self._enter(Stage.SINKING, now_s)

    def _sinking(self, now_s: float) -> None:
        if self._lost(now_s) or self._killed(now_s) or self._taken_away(now_s):
            return
        distance, age_s = self.loop.watch.last_return(now_s)
        sunk = distance < self._lowest_m + SUNK_M and age_s < BLIND_S
        if sunk or self.pilot.state is not State.ACTIVE or self.since_s(now_s) > SINK_S:
            self._let_down(now_s)

    def _let_down(self, now_s: float) -> None:
        """The rest is the leveller's."""
        if self.pilot.flies:
            self.pilot.controller.stop()
        else:  # it takes the drone to be on the ground, and would stop the motors
            self.loop.sends = False
        self._enter(Stage.LANDING, now_s)

    @property
    def _lowest_m(self) -> float:
        """Lowest height of the policy, and no higher than it was told to fly."""
        low, _ = self._facts.setpoint_limits.get("height_m", (self.plan.setpoint.height_m, 0.0))
        return min(float(low), self.plan.setpoint.height_m)

    def _is_coming_down(self) -> bool:
        """The supervisor lands, or its leveller has sunk to the floor."""
        grounded = Condition.LANDED in self.pilot.controller.conditions
        return self.pilot.state is State.LAND or (self.pilot.state is State.DEGRADED and grounded)

    def _landing(self, now_s: float) -> None:
        link = self.link
        if link.armed is False:
            lost = bool(self.reason)
            self._end(Outcome.LOST if lost else Outcome.LANDED, self.reason or "landed and disarmed")
            return
        if self._lost(now_s):
            return
        if Condition.TUMBLED in self.pilot.controller.conditions:
            self._kill_now(now_s)
            return
        if not self.plan.arms:
            if self.pilot.state is State.KILLED:
                self._end(Outcome.LANDED, "landed; disarm it")
            return
        if link.mode.endswith("LAND"):
            self._lands_itself = True
        elif not link.offboard and (self.loop.sends or self._lands_itself):
            self._taken_away(now_s)
            return
        if self.pilot.state is State.KILLED and self.loop.sends:
            self._ask(Request.DISARM, now_s)
            if self.since_s(now_s) > LAND_S:
                self.loop.sends = False
        elif not self.loop.sends or self._blind(now_s) or self.since_s(now_s) > LAND_S:
            self.loop.sends = False
            if not self._lands_itself:
                self._ask(Request.LAND, now_s)
            if self.since_s(now_s) > 2.0 * LAND_S:
                self._end(Outcome.LOST, "the autopilot does not say that it has landed; look at it before you go near")

    def _blind(self, now_s: float) -> bool:
        """So near the floor that the range has stopped to answer: the rest is the autopilot's."""
        distance, age_s = self.loop.watch.last_return(now_s)
        return distance < BLIND_M and age_s > BLIND_S

    def _lost(self, now_s: float) -> bool:
        heard_s = self.link.heard_s
        if heard_s is None or now_s - heard_s < LOST_S:
            return False
        self._end(Outcome.LOST, f"the autopilot has been silent for {LOST_S:g} s; its own failsafe acts")
        return True

    def _killed(self, now_s: float) -> bool:
        if self.pilot.state is not State.KILLED:
            return False
        self._kill_now(now_s)
        return True

    def _taken_away(self, now_s: float) -> bool:
        """Somebody else flies: the pilot at his sticks, or the autopilot's failsafe."""
        if self.link.armed and self.link.offboard:
            return False
        what = "was disarmed" if not self.link.armed else f"went to {self.link.mode}"
        self._end(Outcome.LOST, f"the autopilot {what}; it is not ours any more ({self.link.said or 'no word why'})")
        return True

    def _kill_now(self, now_s: float) -> None:
        self._kill, self._kill_s = True, min(self._kill_s, now_s)
        self.pilot.controller.kill()
        if self._lost(now_s):
            return
        if self._may_be_armed(now_s) and not self.plan.dry and now_s - self._kill_s < LAND_S:
            if self.stage is not Stage.LANDING:
                self._enter(Stage.LANDING, now_s)
            if now_s - self._asked_s >= 0.1:
                self._asked_s = now_s
                self.loop.link.request(Request.KILL, now_s)
            return
        self._end(Outcome.LOST, "the motors were stopped")

    def _cancel(self, now_s: float) -> None:
        # before it asked for anything, an armed drone is somebody else's
        if self.stage is Stage.ENGAGING and self.plan.arms and self._may_be_armed(now_s):
            self.loop.idles = True
            self._ask(Request.DISARM, now_s)
            if not self.done and self.since_s(now_s) < LAND_S:
                return
        self._end(Outcome.CANCELLED, "cancelled before the take-off")
