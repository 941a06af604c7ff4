// One sensor: its last readings by metric, anomalies marked, and its incidents.

import type { Domain, Incident, Metric, Reason, Severity } from "../api/types";
import { path } from "../api/get";
import { IncidentRow } from "../now/incidents";
import { count, hms, hue, label, ms, num, value, when } from "../parts/format";
import { Mark } from "../parts/marks";
import { Empty, Panel } from "../parts/panel";
import { bounds, decimals, line, linear, ticks, times } from "../parts/scale";
import { useSize } from "../parts/size";
import { TimeAxis } from "../charts/axis";
import { useCross } from "../charts/cross";
import { useAsk } from "../state/ask";
import type { Live } from "../state/live";
import { href } from "../state/route";

interface Reading {
  recorded_at: string;
  zone: string;
  is_late: boolean;
  is_anomaly: boolean;
  anomaly_score: number;
  severity: Severity | null;
  reasons: Reason[] | null;
  [metric: string]: unknown;
}

interface Shown {
  sensor_id: string;
  readings: Reading[];
  incidents: Incident[];
}

export function Sensor({ domain, live, id }: { domain: Domain; live: Live; id: string }) {
  const where = path(`sensors/${encodeURIComponent(id)}`);
  const { answer, problem } = useAsk<Shown>(where, Math.floor(live.as_of / 5000));
  const now_ms = live.sections.status?.now_ms ?? Date.now();
  if (problem && !answer) return <Empty>{problem.message}</Empty>;
  if (!answer) return <Empty>Reading the sensor</Empty>;
  const readings = answer.readings.slice().reverse();
  const [first, last] = [readings[0], readings[readings.length - 1]];
  const anomalies = readings.filter((reading) => reading.is_anomaly).length;
  const zones = [...new Set(readings.map((reading) => reading.zone))];
  return (
    <>
      <p class="crumb">
        <a href={href("/")}>Now</a> › sensors
      </p>
      <div class="title">
        <h2 class="big">
          <bdi>Sensor {answer.sensor_id}</bdi>
          <span>, {zones.join(", ")}</span>
        </h2>
        {first && last && (
          <span class="sub">
            {count(readings.length, "reading")} from {when(ms(first.recorded_at), now_ms)} to {when(ms(last.recorded_at), now_ms)} ·{" "}
            {num(anomalies)} anomalous
          </span>
        )}
      </div>
      <div class="grid">
        {domain.metrics.map((metric, index) => (
          <Panel
            title={label(metric.name)}
            sub={`${metric.unit ? `${metric.unit}, ` : ""}each reading; marks: anomalies about it`}
            wide="c6"
          >
            <Readings metric={metric} hue={hue(index)} readings={readings} />
          </Panel>
        ))}
        <Panel title="Its incidents" sub={answer.incidents.length === 0 ? "none" : "newest first"} wide={domain.metrics.length % 2 ? "c6" : "c12"}>
          <div class="list">
            {answer.incidents.slice(0, 6).map((incident) => (
              <IncidentRow domain={domain} incident={incident} now_ms={now_ms} />
            ))}
          </div>
          {answer.incidents.length === 0 && <Empty>No incident is about this sensor alone.</Empty>}
        </Panel>
      </div>
    </>
  );
}

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 8, 18, 22];

function Readings({ metric, hue, readings }: { metric: Metric; hue: string; readings: Reading[] }) {
  const [element, width, height] = useSize<HTMLDivElement>();
  const of = (reading: Reading) => {
    const value = reading[metric.name];
    return typeof value === "number" ? value : null;
  };
  const at = readings.map((reading) => ms(reading.recorded_at));
  const values = readings.map(of);
  const range = bounds(values);
  const [from, to] = [at[0] ?? 0, at[at.length - 1] ?? 1];
  const x = linear(from, to, LEFT, width - RIGHT);
  // A pause of more than ten usual steps is a gap: no line crosses it.
  const steps = at.slice(1).map((time, index) => time - at[index]!).sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length / 2)] ?? 1000;
  const cross = useCross(x, from, to, usual, (time) => {
    let best = 0;
    at.forEach((one, index) => {
      if (Math.abs(one - time) < Math.abs(at[best]! - time)) best = index;
    });
    const reading = readings[best];
    if (!reading) return [hms(time)];
    const about = reading.reasons?.find((reason) => reason.metric === metric.name);
    return [`${hms(at[best]!)}${reading.is_late ? ", late" : ""}`, value(metric, of(reading)), ...(about ? [about.text] : [])];
  });
  if (!range) return <p class="empty">It sends no {label(metric.name).toLowerCase()}.</p>;
  const y = linear(range[0], range[1], height - BOTTOM, TOP);
  const marks = ticks(range[0], range[1], 4);
  const along = times(from, to, Math.max(2, Math.floor(width / 80)));
  return (
    <div class="plot low-plot" ref={element} tabIndex={0} role="group" aria-label={label(metric.name)} {...cross.on}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={`${label(metric.name)}, ${readings.length} readings`}>
          {marks.map((tick) => (
            <>
              <path class="g" d={`M${LEFT} ${y(tick)}H${width - RIGHT}`} />
              <text x={LEFT - 6} y={y(tick) + 4} text-anchor="end">
                {num(tick, decimals(marks))}
              </text>
            </>
          ))}
          <path d={line(at.map(x), values.map((one) => (one === null ? null : y(one))), usual * 10, at)} fill="none" stroke={hue} stroke-width="1.3" />
          {readings.map((reading, index) =>
            reading.severity && values[index] !== null && reading.reasons?.some((reason) => reason.metric === metric.name) ? (
              <Mark of={reading.severity} x={x(at[index]!)} y={y(values[index]!)} r={3.6} />
            ) : null,
          )}
          <TimeAxis along={along} x={x} y={height - BOTTOM} from={LEFT} to={width - RIGHT} />
          {cross.line(TOP, height - BOTTOM)}
        </svg>
      )}
      {cross.tip}
    </div>
  );
}
