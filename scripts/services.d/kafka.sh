# shellcheck shell=bash
# A real Apache Kafka on this machine: one node that is broker and controller, from the jars that Maven brings.

KAFKA_VERSION=4.2.0
LOG4J_VERSION=2.25.3

find_java() {
  JAVA=java
  [[ -z ${JAVA_HOME:-} || ! -x $JAVA_HOME/bin/java ]] || JAVA=$JAVA_HOME/bin/java
  local version
  version=$("$JAVA" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || true
  [[ -n $version ]] || missing java default-jre-headless
  ((version >= 17)) || fail "Kafka $KAFKA_VERSION needs Java 17 or later, $JAVA is $version; get it with: make install, or set JAVA_HOME"
}

# The jars, once per checkout; they come from Maven's own cache when they have been fetched before.
fetch_kafka_jars() {
  KAFKA_JARS=$PLACE/kafka-$KAFKA_VERSION
  [[ ! -s $KAFKA_JARS/complete ]] || return 0
  command -v mvn >/dev/null || missing mvn maven
  warn "fetching Apache Kafka $KAFKA_VERSION through Maven (once)"
  mkdir -p "$KAFKA_JARS"
  cat >"$KAFKA_JARS/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>citytide</groupId><artifactId>services</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J_VERSION</version></dependency>
  </dependencies>
</project>
XML
  # One retry: a registry that stumbles once is more common than one that is away.
  local log=$STATE/maven.log
  fetch() {
    timeout 600 mvn -B -f "$KAFKA_JARS/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$KAFKA_JARS/lib" </dev/null >"$log" 2>&1 9>&-
  }
  if ! fetch && ! fetch; then
    show_tail "$log"
    fail "could not fetch Apache Kafka $KAFKA_VERSION through Maven; is its repository reachable? its log is $log"
  fi
  # Standard output is the log: warnings, and the one line that says that the broker is ready.
  cat >"$KAFKA_JARS/log4j2.properties" <<'PROPERTIES'
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = ${sys:citytide.level:-warn}
rootLogger.appenderRef.out.ref = out
logger.ready.name = kafka.server.KafkaRaftServer
logger.ready.level = info
PROPERTIES
  chmod -R a+rX "$KAFKA_JARS"
  say "$KAFKA_VERSION" >"$KAFKA_JARS/complete"
}

# java_tool CLASS ARG…: one of Kafka's own command line tools.
java_tool() {
  "$JAVA" -Xmx256m -XX:TieredStopAtLevel=1 -Dcitytide.level=error "-Dlog4j2.configurationFile=file:$KAFKA_JARS/log4j2.properties" \
    -cp "$KAFKA_JARS/lib/*" "$@"
}

kafka_up() {
  if alive kafka >/dev/null; then
    return
  fi
  find_java
  open_place
  fetch_kafka_jars
  local KAFKA=("$JAVA" -Xms256m -Xmx512m -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError
    "-Dlog4j2.configurationFile=file:$KAFKA_JARS/log4j2.properties" -cp "$KAFKA_JARS/lib/*")
  local home=$PLACE/kafka port controller
  port=$(free_port kafka)
  controller=$(free_port kafka-controller)
  mkdir -p "$home/data"
  cat >"$home/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$home/data
auto.create.topics.enable=false
num.partitions=4
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
log.retention.hours=8760
PROPERTIES
  give "$home"
  local log=$STATE/kafka.log
  if [[ ! -s $home/data/meta.properties ]]; then
    recall kafka.cluster >/dev/null || remember kafka.cluster "$(cluster_id)"
    if ! (cd "$home" && ${AS[@]+"${AS[@]}"} "${KAFKA[@]}" kafka.tools.StorageTool format -t "$(recall kafka.cluster)" \
      -c "$home/server.properties") >"$log" 2>&1; then
      show_tail "$log"
      fail "could not format Kafka's storage in $home/data"
    fi
  fi
  cd "$home" || fail "cannot enter $home"
  start_detached kafka "$log" ${AS[@]+"${AS[@]}"} "${KAFKA[@]}" kafka.Kafka "$home/server.properties"
  cd "$ROOT" || fail "cannot enter $ROOT"
  wait_until kafka 60 "$log" grep -q 'Kafka Server started' "$log"
  remember kafka.address "127.0.0.1:$port"
}

# SIGTERM lets the broker flush and close; what it has acknowledged survives SIGKILL just as well.
kafka_down() { stop kafka 30 TERM KILL; }

# Kafka wants sixteen random bytes in URL-safe base64; a first "-" would read as an option.
cluster_id() {
  local id
  until id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n') && [[ $id != -* ]]; do :; done
  say "$id"
}
