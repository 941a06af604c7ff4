// The page: what is chosen, what is live, and which page of it is shown.

import { render } from "preact";
import { useState } from "preact/hooks";
import type { Domain } from "./api/types";
import { Charts } from "./charts/charts";
import { IncidentList } from "./incidents/list";
import { OneIncident } from "./incidents/one";
import { Data } from "./data/data";
import { Models } from "./models/models";
import { Now } from "./now/now";
import { sentence } from "./now/sentence";
import { Sign } from "./parts/marks";
import "./page.css";
import { Sensor } from "./sensors/sensor";
import { Shell } from "./shell";
import { useAsk } from "./state/ask";
import { type Live, useLive } from "./state/live";
import { type Route, useRoute } from "./state/route";

function App() {
  const route = useRoute();
  const [paused, pause] = useState(false);
  const every = Math.min(30, Math.max(1, Number(route.query.get("every")) || 1));
  const live = useLive(every, !paused);
  const { answer: domain, problem } = useAsk<Domain>("/api/v1/domain", live.as_of === 0 ? live.tries : 0);
  const said = sentence(live.sections, live);
  const zones = live.sections.zones?.rows.map((row) => row.zone) ?? domain?.zones.map((zone) => zone.name) ?? [];
  return (
    <Shell domain={domain} live={live} route={route} paused={paused} pause={pause} every={every} zones={zones}>
      <div class="status" aria-busy={!live.sections.status}>
        <h1>
          <Sign of={said.sign} />
          <span>
            {said.parts.map((part, index) => (
              <>
                {index > 0 && <b> · </b>}
                <span class="part">{part}</span>
              </>
            ))}
          </span>
        </h1>
        <span class="sub">{said.sub}</span>
      </div>
      {said.banner && (
        <div class={`note${said.banner.error ? " err" : ""}`} role="alert">
          <div>
            <b>{said.banner.head}</b>
            <p>{said.banner.text}</p>
          </div>
          {said.banner.error && (
            <button class="btn" onClick={live.again}>
              Try now
            </button>
          )}
        </div>
      )}
      {problem && !domain && <div class="empty">{problem.message}</div>}
      {domain && <Page domain={domain} live={live} route={route} zones={zones} />}
    </Shell>
  );
}

interface Properties {
  domain: Domain;
  live: Live;
  route: Route;
  zones: string[];
}

function Page({ domain, live, route, zones }: Properties) {
  const [page, of] = route.parts;
  if (page === "incidents" && of) return <OneIncident domain={domain} live={live} id={of} key={of} />;
  if (page === "incidents") return <IncidentList domain={domain} live={live} route={route} />;
  if (page === "charts") return <Charts domain={domain} live={live} route={route} zones={zones} />;
  if (page === "models") return <Models live={live} />;
  if (page === "data") return <Data domain={domain} live={live} />;
  if (page === "sensors" && of) return <Sensor domain={domain} live={live} id={of} key={of} />;
  return <Now domain={domain} live={live} route={route} />;
}

render(<App />, document.getElementById("page")!);
