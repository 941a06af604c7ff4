//! Every comparison for a domain.

use citytide_store::compare::{AsOf, Comparison};
use citytide_store::schema::Schema;

use super::{ledger, windows};

pub fn comparisons(as_of: &AsOf, schema: &Schema<'_>) -> Vec<Comparison> {
    let domain = schema.domain;
    let windows = domain.windows.iter().map(|window| windows::window(as_of, domain, window));
    let mut comparisons: Vec<Comparison> = windows.collect();
    comparisons.push(windows::panes(as_of, domain));
    comparisons.push(ledger::conservation(as_of));
    comparisons.push(ledger::chain());
    comparisons.extend(schema.live.iter().filter_map(|live| Some((live.comparison?)(as_of, domain))));
    comparisons
}
