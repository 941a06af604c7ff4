//! Tables, columns and views as data, and how they are rendered as SQL.

/// A column of a table or a view.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    /// Type and constraints; the type alone in a view.
    pub definition: &'static str,
    /// Its meaning, a sentence without a period.
    pub comment: String,
    /// Whether a later version has added it. A start adds it to older databases, so it is nullable or has a default.
    pub came_later: bool,
    /// What it becomes when a commit brings a row whose key is there: SQL with `kept` and `excluded`. Without it the row
    /// that comes stands, or is added where rows add up.
    pub merge: Option<String>,
}

pub fn column(name: impl Into<String>, definition: &'static str, comment: impl Into<String>) -> Column {
    Column { name: name.into(), definition, comment: comment.into(), came_later: false, merge: None }
}

/// A column of live views whose rows are counts by zone and `window_start`: the commit before the one that made the
/// row. Commits add to the other columns, so runs do not read such a table; retention keeps its rows for as long as
/// windows.
pub const AFTER_EPOCH: &str = "after_epoch";

/// A table without a key of several columns.
pub fn table(name: &str, comment: &str, columns: Vec<Column>) -> Table {
    Table {
        name: name.to_owned(),
        comment: comment.to_owned(),
        columns,
        key: "",
        storage: "",
        index: None,
        came_later: false,
        is_of_windows: false,
        formerly: None,
        followed_by: String::new(),
    }
}

/// A table with its constraints, indexes and functions.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    /// What it holds.
    pub comment: String,
    pub columns: Vec<Column>,
    /// The columns of its primary key if there are several.
    pub key: &'static str,
    /// The clause after the closing parenthesis: partitioning or storage parameters.
    pub storage: &'static str,
    /// A column with an index on it alone.
    pub index: Option<&'static str>,
    /// Whether databases were made before it came: a start makes it.
    pub came_later: bool,
    /// Whether its rows are those of windows: commits fill `revision` and `updated_at`.
    pub is_of_windows: bool,
    /// Its name in older databases, which a view may have now.
    pub formerly: Option<&'static str>,
    /// Statements that follow it: functions, further indexes.
    pub followed_by: String,
}

/// A view with the columns it lists.
#[derive(Debug)]
pub struct View {
    pub name: String,
    /// What it shows.
    pub comment: String,
    pub columns: Vec<Column>,
    /// Expressions by column name, for columns that are not selected by name.
    pub expressions: Vec<(&'static str, &'static str)>,
    /// The query from `from` on.
    pub source: String,
    /// Whether databases were made before it came: a start makes it.
    pub came_later: bool,
}

impl Column {
    /// Marks the column as added by a later version.
    pub fn later(self) -> Column {
        Column { came_later: true, ..self }
    }

    /// The same, merged with what is there by `sql`.
    pub fn merged(self, sql: impl Into<String>) -> Column {
        Column { merge: Some(sql.into()), ..self }
    }

    /// The type without constraints.
    pub fn type_name(&self) -> &'static str {
        let constraints = [" not null", " primary key", " default", " unique", " check", " generated"];
        let end = constraints.iter().filter_map(|word| self.definition.find(word)).min();
        &self.definition[..end.unwrap_or(self.definition.len())]
    }

    /// Whether it may be null.
    pub fn takes_nulls(&self) -> bool {
        !self.definition.contains(" not null") && !self.definition.contains(" primary key")
    }
}

impl Table {
    /// The columns of each unique key, separated by a comma and a space.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let unique = |column: &&Column| {
            [" primary key", " unique"].iter().any(|word| column.definition.contains(word))
        };
        let alone = self.columns.iter().filter(unique).map(|column| column.name.as_str());
        alone.chain(Some(self.key).filter(|key| !key.is_empty()))
    }

    /// The columns of its primary key.
    pub fn primary_key(&self) -> Vec<&str> {
        self.keys().next().map_or(Vec::new(), |key| key.split(", ").collect())
    }

    /// Whether its rows are counts to which commits add: it has the column [`AFTER_EPOCH`].
    pub fn adds_up(&self) -> bool {
        !self.merges() && self.columns.iter().any(|column| column.name == AFTER_EPOCH)
    }

    /// Whether commits bring parts of its rows, which the server merges with those that are there.
    pub fn merges(&self) -> bool {
        self.columns.iter().any(|column| column.merge.is_some())
    }

    /// The statements that make it.
    pub fn render(&self) -> String {
        let mut lines: Vec<String> =
            self.columns.iter().map(|column| format!("    {}", spaced(column))).collect();
        if !self.key.is_empty() {
            lines.push(format!("    primary key ({})", self.key));
        }
        let storage = if self.storage.is_empty() { String::new() } else { format!(" {}", self.storage) };
        let mut script = format!("create table {} (\n{}\n){storage};\n", self.name, lines.join(",\n"));
        if let Some(indexed) = self.index {
            script += &format!("create index {0}_{indexed} on {0} ({indexed});\n", self.name);
        }
        script += &format!("comment on table {} is {};\n", self.name, literal(&self.comment));
        script + &comments(&self.name, &self.columns) + &self.followed_by
    }
}

impl View {
    /// The query of the view.
    pub fn select(&self) -> String {
        let mut select = String::new();
        let mut line = String::from("    select");
        for (index, column) in self.columns.iter().enumerate() {
            let expression = self.expressions.iter().find(|(name, _)| *name == column.name);
            let mut item = match expression {
                Some((name, expression)) => format!(" {expression} as {name}"),
                None => format!(" {}", column.name),
            };
            if index + 1 < self.columns.len() {
                item.push(',');
            }
            if line.len() + item.len() > 110 {
                select += &line;
                line = String::from("\n          ");
            }
            line += &item;
        }
        select += &line;
        format!("{select}\n    {}", self.source)
    }

    /// The statements that make it.
    pub fn render(&self) -> String {
        let mut script = format!("create view {} as\n{};\n", self.name, self.select());
        script += &format!("comment on view {} is {};\n", self.name, literal(&self.comment));
        script + &comments(&self.name, &self.columns)
    }
}

/// A column's name and definition, aligned with those of other columns.
fn spaced(column: &Column) -> String {
    format!("{:<15} {}", column.name, column.definition)
}

/// The comments on the columns of a relation.
pub fn comments(relation: &str, columns: &[Column]) -> String {
    let comment = |column: &Column| {
        format!("comment on column {relation}.{} is {};\n", column.name, literal(&column.comment))
    };
    columns.iter().map(comment).collect()
}

/// A text as an SQL literal, for servers with standard_conforming_strings on (the default since 9.1).
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
