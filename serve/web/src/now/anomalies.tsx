// The newest anomalies one by one, with the first reason of each.

import type { Anomaly } from "../api/types";
import { hms, ms, num } from "../parts/format";
import { SeverityTag } from "../parts/marks";
import { Empty, Panel, Scroll } from "../parts/panel";
import { href } from "../state/route";

interface Properties {
  anomalies: Anomaly[] | undefined;
  zone: string | null;
  metric: string | null;
}

export function RecentAnomalies({ anomalies, zone, metric }: Properties) {
  const about = (one: Anomaly) => !metric || one.reasons.some((reason) => reason.metric === metric);
  const rows = (anomalies ?? []).filter((one) => (!zone || one.zone === zone) && about(one));
  return (
    <Panel
      title="Newest anomalies"
      sub={`readings one by one, newest event time first${zone || metric ? ", filtered" : ""}`}
      tools={
        <a class="txt" href={`/api/v1/anomalies?format=csv${zone ? `&zone=${encodeURIComponent(zone)}` : ""}`} download>
          CSV of the last hour
        </a>
      }
    >
      {anomalies && rows.length === 0 && <Empty>No anomaly among the newest ones here.</Empty>}
      {rows.length > 0 && (
        <Scroll label="Newest anomalies">
          <table>
            <thead>
              <tr>
                <th>Recorded</th>
                <th>Severity</th>
                <th>Sensor</th>
                <th>Zone</th>
                <th>Why</th>
                <th class="n">Score</th>
                <th class="n">Partition, offset</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((one) => (
                <tr key={`${one.kafka_partition}.${one.kafka_offset}`}>
                  <td>{hms(ms(one.recorded_at))}</td>
                  <td>
                    <SeverityTag of={one.severity} />
                  </td>
                  <td>
                    <a class="link" href={href(`/sensors/${encodeURIComponent(one.sensor_id)}`)}>
                      <bdi>{one.sensor_id}</bdi>
                    </a>
                  </td>
                  <td>
                    <bdi>{one.zone}</bdi>
                  </td>
                  <td>
                    <bdi>{one.reasons[0]?.text ?? ""}</bdi>
                    {one.is_late ? " (late)" : ""}
                  </td>
                  <td class="n">{num(one.anomaly_score, 2)}</td>
                  <td class="n mono">
                    {one.kafka_partition}, {one.kafka_offset}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </Panel>
  );
}
