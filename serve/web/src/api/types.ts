// What the server sends. Times end in _ms (milliseconds since 1970) or are RFC 3339.

export interface Metric {
  name: string;
  unit: string;
  decimals: number;
  usual: [number, number];
  below: number | null;
  above: number | null;
}

export interface Window {
  name: string;
  size_ms: number;
  slide_ms: number;
}

export interface Domain {
  name: string;
  topic: string;
  version: string;
  allowed_lateness_ms: number;
  shelve_max_minutes: number;
  metrics: Metric[];
  zones: { name: string; map: [number, number] | null }[];
  windows: Window[];
  now_window: string;
  series_window: string;
}

export type Phase = "empty" | "no_run" | "catching_up" | "quiet" | "live";

export interface Status {
  phase: Phase;
  now_ms: number;
  epoch: number | null;
  committed_ms: number | null;
  watermark_ms: number | null;
  run_id: number | null;
  host: string | null;
  started_ms: number | null;
  alive_ms: number | null;
  read_ms: number | null;
  readings_per_s: number;
  behind_ms: number | null;
  partitions: number;
  consumed: number;
  accepted: number;
  late: number;
  dead: number;
  lost: number;
  unaccounted: [number, number][];
}

/** Mean and one standard deviation. */
export type Typical = [number, number] | null;

export interface ZoneRow {
  zone: string;
  map: [number, number] | null;
  readings: number;
  anomalies: number;
  avg: (number | null)[] | null;
  min: (number | null)[] | null;
  max: (number | null)[] | null;
  typical: Typical[] | null;
}

export interface Zones {
  window: string;
  size_ms: number;
  start_ms: number | null;
  rows: ZoneRow[];
}

export interface MetricRow {
  value: number | null;
  min: number | null;
  min_zone: string | null;
  max: number | null;
  max_zone: string | null;
  change: number | null;
  typical: number | null;
  spark: (number | null)[];
}

export interface Metrics {
  step_ms: number;
  times_ms: number[];
  finals: boolean[];
  rows: MetricRow[];
}

export type Severity = "low" | "medium" | "high";

export interface Chart {
  step_ms: number;
  times_ms: number[];
  avg: (number | null)[];
  min: (number | null)[];
  max: (number | null)[];
  typical: Typical;
}

export interface Incident {
  incident_id: string;
  kind: string;
  zone: string;
  metric: string;
  sensor_id: string | null;
  condition: string;
  superseded_by: string | null;
  severity: Severity;
  severity_peak: Severity;
  opened_at: string;
  last_seen_at: string;
  cleared_at: string | null;
  epoch: number;
  revision: number;
  readings: number;
  sensors: number;
  occurrences: number;
  flaps: number;
  peak_value: number | null;
  typical: number | null;
  spread: number | null;
  unit: string;
  model_version: number;
  text: string;
  acknowledged_at: string | null;
  acknowledged_by: string | null;
  acknowledged_comment: string | null;
  assignee: string | null;
  shelved_until: string | null;
  shelved_by: string | null;
  shelved_reason: string | null;
  is_out_of_service: boolean;
  suppressed_by: string | null;
  needs_attention: boolean;
  chart?: Chart;
}

export interface Incidents {
  open: number;
  cleared: number;
  withdrawn: number;
  rows: Incident[];
}

export interface Reason {
  metric: string;
  actual: number | null;
  unit: string;
  text: string;
  rule?: string;
  member?: string;
  typical?: number;
  spread?: number;
}

export interface Anomaly {
  recorded_at: string;
  sensor_id: string;
  zone: string;
  severity: Severity;
  anomaly_score: number;
  reasons: Reason[];
  is_late: boolean;
  kafka_partition: number;
  kafka_offset: number;
  detector: string;
}

/** Why the server cannot read the database. */
export interface Away {
  since_ms: number;
  reason: string;
  retry_s: number;
}

export interface Sections {
  status?: Status;
  zones?: Zones;
  metrics?: Metrics;
  incidents?: Incidents;
  anomalies?: Anomaly[];
  away?: Away | null;
}
