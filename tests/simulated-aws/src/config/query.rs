//! Config's advanced query language: parsed by a real SQL parser, then held to what AWS documents, and evaluated.
//!
//! # Guarantees
//! - Whatever is not documented is refused, whether AWS would accept it or not. The proof is an echo: from what was
//!   understood the query is written again, and if the parser's own rendering differs, something was not understood.
//! - No expression makes it panic.
//!
//! # What a query means
//! - A condition on a property inside arrays holds if any element satisfies it, so that two conditions joined by `AND`
//!   may be met by different elements. `NOT` negates that: no element satisfies it. A missing property satisfies nothing.
//! - A selected property keeps its place: `configuration.ContainerDefinitions.Image` becomes
//!   `{"configuration":{"ContainerDefinitions":[{"Image":…},…]}}`. What an item lacks is absent from its row.
//! - Text is compared byte by byte, in its case.
//!
//! # Sources
//! The pages "Querying the Current Configuration State of AWS Resources" and "Query Components" of the AWS Config
//! developer guide. AWS does not say how grouping treats several values or none: here an item counts in the group of
//! each of its values, and in none without a value.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, OrderByKind, OrderBySort,
    SelectItem, SetExpr, Statement, UnaryOperator,
};
use sqlparser::dialect::AnsiDialect;
use sqlparser::parser::Parser;

use super::schema::{self, Kind};

/// The properties that `SELECT *` returns.
const SCALARS: &[&str] = &[
    "accountId",
    "awsRegion",
    "arn",
    "availabilityZone",
    "configurationItemCaptureTime",
    "resourceCreationTime",
    "resourceId",
    "resourceName",
    "resourceType",
    "version",
];

/// What a `_` means in a `LIKE` pattern before its end. AWS says that wildcards stand only at the end and that `_` is one,
/// but not what becomes of `'my_repository%'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InnerUnderscore {
    /// It matches any character.
    AnyCharacter,
    /// The query is refused.
    Refused,
}

/// Why a query is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// AWS would refuse it, or does not document it (`InvalidExpressionException`).
    #[error("{0}")]
    Invalid(String),
    /// Documented, but not simulated.
    #[error("{0}")]
    NotSimulated(String),
}

fn invalid(why: impl Into<String>) -> QueryError {
    QueryError::Invalid(why.into())
}

/// A path of names, such as `configuration.Status`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Property {
    name: String,
    path: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Text(String),
    Number(f64),
    Boolean(bool),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equal(Literal),
    Less(Literal),
    Greater(Literal),
    Between(Literal, Literal),
    In(Vec<Literal>),
    Like(Pattern),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// What stands before the final wildcard; `None` is one character, whichever.
    head: Vec<Option<char>>,
    tail: Tail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    Nothing,
    OneCharacter,
    Anything,
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    All(Box<Condition>, Box<Condition>),
    Any(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Holds(Property, Test),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Count,
    Sum,
    Min,
    Max,
    Avg,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Scalars,
    Property(Property),
    /// `None` is `*`.
    Aggregate(String, Function, Option<Property>),
}

impl Column {
    fn name(&self) -> &str {
        match self {
            Self::Scalars => "*",
            Self::Property(property) => &property.name,
            Self::Aggregate(name, ..) => name,
        }
    }
}

/// A query that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    columns: Vec<Column>,
    condition: Option<Condition>,
    group_by: Vec<Property>,
    /// Column names, and whether descending.
    order_by: Vec<(String, bool)>,
}

impl Query {
    /// Understands an expression.
    pub(crate) fn parse(expression: &str, underscore: InnerUnderscore) -> Result<Self, QueryError> {
        let length = expression.chars().count();
        if !(1..=4096).contains(&length) {
            return Err(invalid(format!("the expression has {length} characters; 1 to 4096 are allowed")));
        }
        check_text(expression)?;
        let mut statements = Parser::parse_sql(&AnsiDialect {}, expression)
            .map_err(|error| invalid(format!("the expression is not valid: {error}")))?;
        let statement = match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => statement,
            _ => return Err(invalid("an expression is one SELECT")),
        };
        let parsed = statement.to_string();
        let Statement::Query(query) = statement else {
            return Err(invalid("an expression is a SELECT"));
        };
        let mut reader = Reader { underscore, used: BTreeSet::new(), echo: String::new() };
        let query = reader.query(&query)?;
        if reader.echo != parsed {
            return Err(invalid(format!("undocumented: understood '{}' of '{parsed}'", reader.echo)));
        }
        reader.check_identifiers()?;
        Ok(query)
    }

    /// The resource types that can satisfy the condition, or `None` if it does not name them.
    pub(crate) fn resource_types(&self) -> Option<BTreeSet<&str>> {
        self.condition.as_ref().and_then(Condition::resource_types)
    }

    /// Whether it aggregates: its pages are larger then.
    pub(crate) fn aggregates(&self) -> bool {
        self.columns.iter().any(|column| matches!(column, Column::Aggregate(..)))
    }

    /// Whether it has more than one page: not if it is ordered by an aggregate.
    pub(crate) fn has_pages(&self) -> bool {
        !self.columns.iter().any(|column| {
            matches!(column, Column::Aggregate(..)) && self.order_by.iter().any(|(name, _)| name == column.name())
        })
    }

    /// The selected fields as `QueryInfo` names them.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.columns
            .iter()
            .flat_map(|column| match column {
                Column::Scalars => SCALARS.to_vec(),
                other => vec![other.name()],
            })
            .collect()
    }

    /// The rows, from items in the order in which they come.
    pub(crate) fn run<'a>(&self, items: impl IntoIterator<Item = &'a Value>) -> Vec<Value> {
        let found =
            items.into_iter().filter(|item| self.condition.as_ref().is_none_or(|condition| condition.holds(item)));
        let mut rows: Vec<(Vec<Option<Value>>, Value)> =
            if self.aggregates() { self.groups(found.collect()) } else { self.select(found) };
        if !self.order_by.is_empty() {
            rows.sort_by(|(left, _), (right, _)| self.compare(left, right));
        }
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn select<'a>(&self, items: impl Iterator<Item = &'a Value>) -> Vec<(Vec<Option<Value>>, Value)> {
        let mut shape = Shape::default();
        for column in &self.columns {
            match column {
                Column::Scalars => SCALARS.iter().for_each(|scalar| shape.add(&[(*scalar).to_owned()])),
                Column::Property(property) => shape.add(&property.path),
                Column::Aggregate(..) => {}
            }
        }
        items
            .map(|item| {
                let keys = self.order_by.iter().map(|(name, _)| first_value(item, name)).collect();
                (keys, shape.pick(item).unwrap_or_else(|| Value::Object(Map::new())))
            })
            .collect()
    }

    fn groups(&self, items: Vec<&Value>) -> Vec<(Vec<Option<Value>>, Value)> {
        let mut groups: BTreeMap<Vec<String>, (Vec<Value>, Vec<&Value>)> = BTreeMap::new();
        if self.group_by.is_empty() {
            groups.insert(Vec::new(), (Vec::new(), items));
        } else {
            for item in items {
                for values in combinations(item, &self.group_by) {
                    let key = values.iter().map(Value::to_string).collect();
                    groups.entry(key).or_insert_with(|| (values, Vec::new())).1.push(item);
                }
            }
        }
        groups
            .into_values()
            .map(|(values, items)| {
                let mut row = Value::Object(Map::new());
                let mut named = BTreeMap::new();
                for (property, value) in self.group_by.iter().zip(values) {
                    if self.columns.iter().any(|column| column.name() == property.name) {
                        insert(&mut row, &property.path, value.clone());
                    }
                    named.insert(property.name.as_str(), value);
                }
                for column in &self.columns {
                    if let Column::Aggregate(name, function, property) = column
                        && let Some(value) = aggregate(*function, property.as_ref(), &items)
                    {
                        insert(&mut row, std::slice::from_ref(name), value.clone());
                        named.insert(name, value);
                    }
                }
                (self.order_by.iter().map(|(name, _)| named.get(name.as_str()).cloned()).collect(), row)
            })
            .collect()
    }

    fn compare(&self, left: &[Option<Value>], right: &[Option<Value>]) -> Ordering {
        for ((left, right), (_, descending)) in left.iter().zip(right).zip(&self.order_by) {
            let ordering = match (left, right) {
                (Some(left), Some(right)) if *descending => compare_values(right, left),
                (Some(left), Some(right)) => compare_values(left, right),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        Ordering::Equal
    }
}

/// Refuses what the parser would drop or unescape: comments, escaped quotes, other quotes, several statements.
fn check_text(expression: &str) -> Result<(), QueryError> {
    if expression.ends_with('\n') {
        return Err(invalid("syntax error: the expression ends with a line break"));
    }
    let mut inside = false;
    let mut rest = expression.chars().peekable();
    while let Some(char) = rest.next() {
        match (inside, char) {
            (false, '\'') => inside = true,
            (true, '\'') if rest.peek() == Some(&'\'') => {
                return Err(invalid("a quote inside a value cannot be written"));
            }
            (true, '\'') => inside = false,
            (true, '"' | '\\' | '`') => return Err(invalid(format!("undocumented: {char} inside a value"))),
            (false, '"' | '\\' | '`' | ';' | '#' | '$' | '?' | '@') => {
                return Err(invalid(format!("undocumented: {char}")));
            }
            (false, '-') if rest.peek() == Some(&'-') => return Err(invalid("undocumented: a comment")),
            (false, '/') => return Err(invalid("undocumented: /")),
            (_, '\0'..='\u{8}') => {
                return Err(invalid("undocumented: a control character"));
            }
            _ => {}
        }
    }
    if inside { Err(invalid("a value's closing quote is missing")) } else { Ok(()) }
}

/// Reads the parser's tree and writes down what it understood.
struct Reader {
    underscore: InnerUnderscore,
    used: BTreeSet<String>,
    echo: String,
}

impl Reader {
    fn query(&mut self, query: &ast::Query) -> Result<Query, QueryError> {
        let SetExpr::Select(select) = query.body.as_ref() else {
            return Err(invalid("an expression is one SELECT"));
        };
        self.echo.push_str("SELECT ");
        let mut columns = Vec::new();
        for (position, item) in select.projection.iter().enumerate() {
            if position > 0 {
                self.echo.push_str(", ");
            }
            columns.push(self.column(item)?);
        }
        if columns.is_empty() {
            return Err(invalid("nothing is selected"));
        }
        let condition = match &select.selection {
            None => None,
            Some(selection) => {
                self.echo.push_str(" WHERE ");
                Some(self.condition(selection)?)
            }
        };
        let group_by = self.group_by(&select.group_by)?;
        let order_by = self.order_by(query.order_by.as_ref())?;
        let query = Query { columns, condition, group_by, order_by };
        check_aggregation(&query)?;
        Ok(query)
    }

    fn column(&mut self, item: &SelectItem) -> Result<Column, QueryError> {
        match item {
            SelectItem::Wildcard(_) => {
                self.echo.push('*');
                Ok(Column::Scalars)
            }
            SelectItem::UnnamedExpr(Expr::Function(function)) => self.aggregate(function),
            SelectItem::UnnamedExpr(expression) => Ok(Column::Property(self.property(expression)?)),
            _ => Err(invalid("AS is not supported")),
        }
    }

    fn aggregate(&mut self, function: &ast::Function) -> Result<Column, QueryError> {
        let written = function.name.to_string();
        let kind = match written.to_ascii_uppercase().as_str() {
            "COUNT" => Function::Count,
            "SUM" => Function::Sum,
            "MIN" => Function::Min,
            "MAX" => Function::Max,
            "AVG" => Function::Avg,
            _ => return Err(invalid(format!("there is no function {written}"))),
        };
        let one = match &function.args {
            FunctionArguments::List(list) if list.args.len() == 1 => &list.args[0],
            _ => return Err(invalid(format!("{written} takes one argument"))),
        };
        let start = self.echo.len();
        self.echo.push_str(&format!("{written}("));
        let property = match one {
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if kind == Function::Count => {
                self.echo.push('*');
                None
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => {
                let property = self.property(expression)?;
                if kind != Function::Count && schema::kind_of(&property.name) != Some(Kind::Number) {
                    return Err(invalid(format!("{written} needs a number; {} is none", property.name)));
                }
                Some(property)
            }
            _ => return Err(invalid(format!("{written} takes one property"))),
        };
        self.echo.push(')');
        Ok(Column::Aggregate(self.echo[start..].to_owned(), kind, property))
    }

    fn condition(&mut self, expression: &Expr) -> Result<Condition, QueryError> {
        match expression {
            Expr::Nested(inner) => {
                self.echo.push('(');
                let condition = self.condition(inner)?;
                self.echo.push(')');
                Ok(condition)
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                self.echo.push_str("NOT ");
                Ok(Condition::Not(Box::new(self.condition(expr)?)))
            }
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                let left = Box::new(self.condition(left)?);
                self.echo.push_str(&format!(" {op} "));
                let right = Box::new(self.condition(right)?);
                Ok(if *op == BinaryOperator::And { Condition::All(left, right) } else { Condition::Any(left, right) })
            }
            Expr::BinaryOp { left, op, right } => {
                let make = match op {
                    BinaryOperator::Eq => Test::Equal,
                    BinaryOperator::Lt => Test::Less,
                    BinaryOperator::Gt => Test::Greater,
                    _ => return Err(invalid(format!("the operator {op} is not documented"))),
                };
                let (property, kind) = self.scalar(left)?;
                self.echo.push_str(&format!(" {op} "));
                let literal = self.literal(right, kind)?;
                if matches!(literal, Literal::Boolean(_)) && *op != BinaryOperator::Eq {
                    return Err(invalid(format!("{} is a boolean", property.name)));
                }
                Ok(Condition::Holds(property, make(literal)))
            }
            Expr::In { expr, target: ast::InTarget::List(list), negated: false, global: false } if !list.is_empty() => {
                let (property, kind) = self.scalar(expr)?;
                self.echo.push_str(" IN (");
                let mut literals = Vec::new();
                for (position, literal) in list.iter().enumerate() {
                    if position > 0 {
                        self.echo.push_str(", ");
                    }
                    literals.push(self.literal(literal, kind)?);
                }
                self.echo.push(')');
                Ok(Condition::Holds(property, Test::In(literals)))
            }
            Expr::Between { expr, negated: false, low, high } => {
                let (property, kind) = self.scalar(expr)?;
                self.echo.push_str(" BETWEEN ");
                let low = self.literal(low, kind)?;
                self.echo.push_str(" AND ");
                let high = self.literal(high, kind)?;
                if matches!(low, Literal::Boolean(_)) {
                    return Err(invalid(format!("{} is a boolean", property.name)));
                }
                Ok(Condition::Holds(property, Test::Between(low, high)))
            }
            Expr::Like { negated: false, any: false, expr, pattern, escape_char: None } => {
                let (property, kind) = self.scalar(expr)?;
                self.echo.push_str(" LIKE ");
                let Literal::Text(pattern) = self.literal(pattern, kind)? else {
                    return Err(invalid(format!("LIKE needs text; {} is none", property.name)));
                };
                Ok(Condition::Holds(property, Test::Like(self.pattern(&pattern)?)))
            }
            Expr::IsNull(_) | Expr::IsNotNull(_) => Err(invalid("NULL value queries are not supported")),
            other => Err(invalid(format!("not a documented condition: {other}"))),
        }
    }

    fn pattern(&self, pattern: &str) -> Result<Pattern, QueryError> {
        let mut head: Vec<char> = pattern.chars().collect();
        let tail = match head.last() {
            Some('%') => Tail::Anything,
            Some('_') => Tail::OneCharacter,
            _ => Tail::Nothing,
        };
        if tail != Tail::Nothing {
            head.pop();
        }
        if head.contains(&'%') {
            return Err(invalid(format!("LIKE '{pattern}': only suffix wildcards are supported")));
        }
        if head.iter().take_while(|char| **char != '_').count() < 3 {
            return Err(invalid(format!("LIKE '{pattern}': wildcard matches must be at least three characters long")));
        }
        if self.underscore == InnerUnderscore::Refused && head.contains(&'_') {
            return Err(invalid(format!("LIKE '{pattern}': only suffix wildcards are supported, and _ is a wildcard")));
        }
        Ok(Pattern { head: head.into_iter().map(|char| (char != '_').then_some(char)).collect(), tail })
    }

    fn group_by(&mut self, group_by: &GroupByExpr) -> Result<Vec<Property>, QueryError> {
        let GroupByExpr::Expressions(expressions, _) = group_by else {
            return Err(invalid("ALL is not supported"));
        };
        let mut properties = Vec::new();
        for (position, expression) in expressions.iter().enumerate() {
            self.echo.push_str(if position == 0 { " GROUP BY " } else { ", " });
            properties.push(self.scalar(expression)?.0);
        }
        Ok(properties)
    }

    fn order_by(&mut self, order_by: Option<&ast::OrderBy>) -> Result<Vec<(String, bool)>, QueryError> {
        let expressions = match order_by.map(|order_by| &order_by.kind) {
            None => return Ok(Vec::new()),
            Some(OrderByKind::Expressions(expressions)) => expressions,
            Some(OrderByKind::All(_)) => return Err(invalid("ALL is not supported")),
        };
        let mut columns = Vec::new();
        for (position, expression) in expressions.iter().enumerate() {
            self.echo.push_str(if position == 0 { " ORDER BY " } else { ", " });
            let name = match &expression.expr {
                Expr::Function(function) => self.aggregate(function)?.name().to_owned(),
                other => self.scalar(other)?.0.name,
            };
            let descending = match &expression.options.sort {
                None => false,
                Some(OrderBySort::Asc) => {
                    self.echo.push_str(" ASC");
                    false
                }
                Some(OrderBySort::Desc) => {
                    self.echo.push_str(" DESC");
                    true
                }
                Some(OrderBySort::Using(_)) => return Err(invalid("ORDER BY knows ASC and DESC")),
            };
            columns.push((name, descending));
        }
        Ok(columns)
    }

    /// A property that is a structure or a scalar.
    fn property(&mut self, expression: &Expr) -> Result<Property, QueryError> {
        let path: Vec<String> = match expression {
            Expr::Identifier(name) => vec![name.value.clone()],
            Expr::CompoundIdentifier(names) => names.iter().map(|name| name.value.clone()).collect(),
            other => return Err(invalid(format!("not a property: {other}"))),
        };
        let name = path.join(".");
        if schema::kind_of(&name).is_none() && !schema::is_structure(&name) {
            return Err(invalid(format!("no resource type that is simulated has a property {name}")));
        }
        self.echo.push_str(&name);
        self.used.insert(name.clone());
        Ok(Property { name, path })
    }

    fn scalar(&mut self, expression: &Expr) -> Result<(Property, Kind), QueryError> {
        let property = self.property(expression)?;
        match schema::kind_of(&property.name) {
            Some(kind) => Ok((property, kind)),
            None => Err(invalid(format!("{} is a structure, not a value", property.name))),
        }
    }

    fn literal(&mut self, expression: &Expr, kind: Kind) -> Result<Literal, QueryError> {
        let written = expression.to_string();
        let Expr::Value(value) = expression else {
            return Err(invalid(format!("not a value: {written}")));
        };
        self.echo.push_str(&written);
        let text = match &value.value {
            ast::Value::SingleQuotedString(text) => text.clone(),
            ast::Value::Number(..) if kind == Kind::Number => written.clone(),
            ast::Value::Boolean(_) if kind == Kind::Boolean => written.clone(),
            _ => return Err(invalid(format!("{written} is not a value of the property's type"))),
        };
        let mismatch = || invalid(format!("{written} is not a value of the property's type"));
        match kind {
            Kind::Text => Ok(Literal::Text(text)),
            Kind::Number => {
                let number: f64 = text.parse().map_err(|_| mismatch())?;
                if number.is_finite() { Ok(Literal::Number(number)) } else { Err(mismatch()) }
            }
            Kind::Boolean => text.parse().map(Literal::Boolean).map_err(|_| mismatch()),
            Kind::Address => Err(QueryError::NotSimulated("conditions on IP addresses".to_owned())),
        }
    }

    /// Refuses "mismatched identifiers": two properties in one query, alike but for their case, one of them perhaps
    /// with more after it.
    fn check_identifiers(&self) -> Result<(), QueryError> {
        for left in &self.used {
            for right in &self.used {
                let same_start = |left: &str| {
                    right.get(..left.len()).is_some_and(|start| start.eq_ignore_ascii_case(left) && start != left)
                };
                if same_start(left) {
                    return Err(invalid(format!("mismatched identifiers: {left} and {right}")));
                }
            }
        }
        Ok(())
    }
}

fn check_aggregation(query: &Query) -> Result<(), QueryError> {
    let selected = |name: &str| query.columns.iter().any(|column| column.name() == name);
    for (name, _) in &query.order_by {
        let scalar = SCALARS.contains(&name.as_str()) && query.columns.contains(&Column::Scalars);
        if !selected(name) && !scalar {
            return Err(invalid(format!("ORDER BY {name}: it is not selected")));
        }
    }
    if !query.aggregates() {
        return if query.group_by.is_empty() { Ok(()) } else { Err(invalid("GROUP BY without an aggregate function")) };
    }
    for column in &query.columns {
        let grouped = match column {
            Column::Scalars => false,
            Column::Property(property) => query.group_by.contains(property),
            Column::Aggregate(..) => true,
        };
        if !grouped {
            return Err(invalid(format!("{} is neither aggregated nor grouped by", column.name())));
        }
    }
    let limit = if query.has_pages() { 3 } else { 1 };
    if query.group_by.len() > limit {
        return Err(invalid(format!("GROUP BY has {} properties; {limit} are allowed", query.group_by.len())));
    }
    Ok(())
}

impl Condition {
    fn holds(&self, item: &Value) -> bool {
        match self {
            Self::All(left, right) => left.holds(item) && right.holds(item),
            Self::Any(left, right) => left.holds(item) || right.holds(item),
            Self::Not(inner) => !inner.holds(item),
            Self::Holds(property, test) => any_value(item, &property.path, &mut |value| test.holds(value)),
        }
    }

    fn resource_types(&self) -> Option<BTreeSet<&str>> {
        match self {
            Self::All(left, right) => match (left.resource_types(), right.resource_types()) {
                (Some(left), Some(right)) => Some(left.intersection(&right).copied().collect()),
                (Some(types), None) | (None, Some(types)) => Some(types),
                (None, None) => None,
            },
            Self::Any(left, right) => left
                .resource_types()
                .zip(right.resource_types())
                .map(|(left, right)| left.union(&right).copied().collect()),
            Self::Holds(property, Test::Equal(Literal::Text(one))) if property.name == "resourceType" => {
                Some(BTreeSet::from([one.as_str()]))
            }
            Self::Holds(property, Test::In(list)) if property.name == "resourceType" => {
                let types = list.iter().filter_map(|literal| match literal {
                    Literal::Text(one) => Some(one.as_str()),
                    Literal::Number(_) | Literal::Boolean(_) => None,
                });
                Some(types.collect())
            }
            Self::Not(_) | Self::Holds(..) => None,
        }
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        let compared = |literal: &Literal| literal.compare(value);
        match self {
            Self::Equal(literal) => compared(literal) == Some(Ordering::Equal),
            Self::Less(literal) => compared(literal) == Some(Ordering::Less),
            Self::Greater(literal) => compared(literal) == Some(Ordering::Greater),
            Self::Between(low, high) => {
                compared(low).is_some_and(Ordering::is_ge) && compared(high).is_some_and(Ordering::is_le)
            }
            Self::In(list) => list.iter().any(|literal| compared(literal) == Some(Ordering::Equal)),
            Self::Like(pattern) => value.as_str().is_some_and(|text| pattern.matches(text)),
        }
    }
}

impl Literal {
    /// How `value` stands to it.
    fn compare(&self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Text(literal), Value::String(value)) => Some(value.as_str().cmp(literal)),
            (Self::Number(literal), Value::Number(value)) => value.as_f64()?.partial_cmp(literal),
            (Self::Boolean(literal), Value::Bool(value)) => Some(value.cmp(literal)),
            _ => None,
        }
    }
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        for expected in &self.head {
            match (rest.next(), expected) {
                (None, _) => return false,
                (Some(found), Some(expected)) if found != *expected => return false,
                _ => {}
            }
        }
        match self.tail {
            Tail::Anything => true,
            Tail::OneCharacter => rest.next().is_some() && rest.next().is_none(),
            Tail::Nothing => rest.next().is_none(),
        }
    }
}

/// Whether `test` holds for any scalar at the path, through all arrays on the way.
fn any_value(value: &Value, path: &[String], test: &mut dyn FnMut(&Value) -> bool) -> bool {
    match (value, path.split_first()) {
        (Value::Array(elements), _) => elements.iter().any(|element| any_value(element, path, test)),
        (Value::Object(members), Some((name, rest))) => {
            members.get(name).is_some_and(|member| any_value(member, rest, test))
        }
        (Value::Null | Value::Object(_), None) | (_, Some(_)) => false,
        (scalar, None) => test(scalar),
    }
}

/// The distinct scalars at the path, in order.
fn distinct_values(item: &Value, path: &[String]) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    any_value(item, path, &mut |value| {
        values.push(value.clone());
        false
    });
    values.sort_by(compare_values);
    values.dedup();
    values
}

fn first_value(item: &Value, name: &str) -> Option<Value> {
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    distinct_values(item, &path).into_iter().next()
}

/// Every way to take one value of each property.
fn combinations(item: &Value, properties: &[Property]) -> Vec<Vec<Value>> {
    properties.iter().fold(vec![Vec::new()], |combinations, property| {
        let values = distinct_values(item, &property.path);
        combinations
            .iter()
            .flat_map(|start| {
                values.iter().map(|value| {
                    let mut longer = start.clone();
                    longer.push(value.clone());
                    longer
                })
            })
            .collect()
    })
}

/// Orders scalars: numbers by size, text by bytes, kinds among themselves.
fn compare_values(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Bool(_) => 0,
        Value::Number(_) => 1,
        _ => 2,
    };
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal)
        }
        _ => rank(left).cmp(&rank(right)),
    }
}

fn aggregate(function: Function, property: Option<&Property>, items: &[&Value]) -> Option<Value> {
    let Some(property) = property else {
        return Some(Value::from(items.len()));
    };
    if function == Function::Count {
        let count = items.iter().filter(|item| any_value(item, &property.path, &mut |_| true)).count();
        return Some(Value::from(count));
    }
    let mut numbers = Vec::new();
    for item in items {
        any_value(item, &property.path, &mut |value| {
            numbers.extend(value.as_f64());
            false
        });
    }
    let sum: f64 = numbers.iter().sum();
    let number = match function {
        Function::Sum => sum,
        Function::Avg => (!numbers.is_empty()).then(|| sum / numbers.len() as f64)?,
        Function::Min => numbers.iter().copied().reduce(f64::min)?,
        Function::Max => numbers.iter().copied().reduce(f64::max)?,
        Function::Count => return None,
    };
    Some(Value::from(number))
}

fn insert(row: &mut Value, path: &[String], value: Value) {
    if let (Value::Object(members), Some((name, rest))) = (row, path.split_first()) {
        if rest.is_empty() {
            members.insert(name.clone(), value);
        } else {
            insert(members.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())), rest, value);
        }
    }
}

/// The part of an item that is selected.
#[derive(Debug, Default)]
struct Shape {
    whole: bool,
    members: BTreeMap<String, Shape>,
}

impl Shape {
    fn add(&mut self, path: &[String]) {
        match path.split_first() {
            None => self.whole = true,
            Some((name, rest)) => self.members.entry(name.clone()).or_default().add(rest),
        }
    }

    fn pick(&self, value: &Value) -> Option<Value> {
        if self.whole {
            return (!value.is_null()).then(|| value.clone());
        }
        match value {
            Value::Array(elements) => {
                let picked: Vec<Value> = elements.iter().filter_map(|element| self.pick(element)).collect();
                (!picked.is_empty()).then_some(Value::Array(picked))
            }
            Value::Object(members) => {
                let picked: Map<String, Value> = self
                    .members
                    .iter()
                    .filter_map(|(name, shape)| Some((name.clone(), shape.pick(members.get(name)?)?)))
                    .collect();
                (!picked.is_empty()).then_some(Value::Object(picked))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
