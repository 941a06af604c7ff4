# A dozen doors; what is behind each is in scripts/.
# RATE, SENSORS and WORKERS change what run, producer and consumer do: make run RATE=5000. HISTORY and PAGE are for run.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.SILENT:
.DEFAULT_GOAL := help
.PHONY: help build services run test bench bench-detector bench-incidents install setup producer consumer train-model dashboard psql stop clean
export RATE SENSORS WORKERS HISTORY PAGE
# SQL reaches psql as it was typed: make must not read the dollar signs in it.
unexport SQL

BINARIES := $(or $(CARGO_TARGET_DIR),target)/release

help: ## this list
	sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

run: build ## services, generator and dataflow: live tables in a minute
	scripts/run

test: ## everything, against a real Kafka and a real PostgreSQL
	scripts/test

bench: build services ## throughput, latency, memory, recovery
	eval "$$(scripts/services env)" && export KAFKA_BROKERS DATABASE_URL && scripts/bench

bench-detector: build ## precision and recall of the detector on labelled cities
	scripts/bench-detector

bench-incidents: build services ## incidents of a day against the events that were injected
	eval "$$(scripts/services env)" && export KAFKA_BROKERS DATABASE_URL && scripts/bench-incidents

install: ## what this machine lacks
	scripts/install

setup: services ## the services only
	scripts/services env

producer: build services ## the generator alone, until Ctrl-C
	eval "$$(scripts/services env)" && exec $(BINARIES)/citytide-generator --brokers "$$KAFKA_BROKERS" --topic sensor-data \
	  --rate "$${RATE:-200}" --sensors "$${SENSORS:-400}" --partitions 4

consumer: build services ## the dataflow alone, showing readings and closed windows
	eval "$$(scripts/services env)" && export KAFKA_BROKERS DATABASE_URL && \
	  exec $(BINARIES)/citytide run --topic sensor-data -w "$${WORKERS:-2}" --show

train-model: build services ## a model by hand, and how its verdicts would differ
	eval "$$(scripts/services env)" && export DATABASE_URL && exec $(BINARIES)/citytide train

dashboard: build services ## the page alone, over the tables as they are
	eval "$$(scripts/services env)" && export DATABASE_URL && exec $(BINARIES)/citytide serve

psql: export CITYTIDE_SQL = $(value SQL)
psql: ## ask the tables; SQL="select …" prints one answer
	scripts/psql

stop: ## end everything that was started here
	scripts/stop

clean: ## stop, and remove the services' data
	scripts/stop >/dev/null
	scripts/services clean

build:
	cargo build --release --locked --bins

services:
	scripts/services up
	scripts/topic sensor-data 4
