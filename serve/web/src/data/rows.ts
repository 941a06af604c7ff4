// Rows of the lists that the page Data shows.

export interface Answer<T> {
  rows: T[];
  next: string | null;
}

export interface Progress {
  kafka_partition: number;
  source: string;
  first_offset: number;
  next_offset: number;
  accepted: number;
  late: number;
  dead: number;
  lost: number;
  gaps: number;
  holds: boolean;
  watermark: string | null;
  is_idle: boolean;
}

export type Quality = Record<string, number | string | null> & {
  zone: string;
  minute: string;
  expected: number | null;
  readings: number;
};

export interface Letter {
  epoch: number;
  kafka_partition: number;
  kafka_offset: number;
  received_at: string;
  reason: string;
  message: string;
  payload: string;
  payload_bytes: number;
}

export interface Commit {
  epoch: number;
  run_id: number;
  committed_at: string;
  watermark: string | null;
  readings: number;
}

export interface Run {
  run_id: number;
  host: string;
  processes: number;
  workers: number;
  started_at: string;
  ended_at: string | null;
  heartbeat_at: string;
  why: string | null;
}

export interface Follower {
  name: string;
  epoch: number;
  updated_at: string | null;
}
